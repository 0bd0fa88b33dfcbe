"""The live model: loading, warm-up and hot swap.

The registry's CURRENT file names the live version, and every process follows it.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterable
from functools import lru_cache
from math import isfinite
from typing import Final

import numpy as np

from app.errors import Conflict, NotFound, NotReady
from app.net import SIDE
from app.predict.answers import Answer
from app.predict.model import Model, load_network
from app.versions.card import Card
from app.versions.registry import Registry

POLL_INTERVAL: Final = 0.25
RETRY_INTERVAL: Final = 10.0
MODEL_CACHE_SIZE: Final = 8
WARM_UP_SIZES: Final = (1, 32)
log = logging.getLogger(__name__)


class LiveModel:
    """Holds the live model. A request reads it once, so each answer comes from one version."""

    def __init__(self, registry: Registry, device: str) -> None:
        self.registry, self.device = registry, device
        self.load_cached = lru_cache(MODEL_CACHE_SIZE)(self._load)
        self.swaps = 0
        self._model: Model | None = None
        self._stamp: tuple[int, int] | None = None
        self._swapping = threading.Lock()

    @property
    def model(self) -> Model:
        """Return the live model. Raises NotReady."""
        if self._model is None:
            raise NotReady("No version is loaded yet. Try again in a second.", retry_after=1)
        return self._model

    def get(self, version: int | None) -> Model:
        """Return the model of a version; None means live. Raises NotFound, Conflict, NotReady."""
        if version is None:
            return self.model
        self.registry.path(version)  # raises if the version was deleted, even if it is cached
        model = self._model
        return model if model and model.version == version else self.load_cached(version)

    def load_initial(self) -> None:
        """Load the live version; if that fails, the one that was live before it, and so on.

        Raises NotReady, Conflict if no version can be loaded.
        """
        for version in self.registry.history():
            try:
                self._swap(self._load(version))
                return
            except (Conflict, NotFound, NotReady) as error:
                log.error("live version failed to load: version=%d error=%s", version, error)
        self.refresh()

    def refresh(self) -> None:
        """Load the version that CURRENT names. Raises NotReady, NotFound, Conflict."""
        with self._swapping:
            self.registry.repair(self._model.version if self._model else None)
            version = self.registry.current()
            if version is None:
                raise NotReady("No version exists. Upload one with POST /models, or train one.")
            if self._model is None or self._model.version != version:
                self._swap(self._load(version))

    def promote(self, version: int) -> Card:
        """Make a version live, and return its card, which another request may delete by then.

        On an error nothing changes. Raises NotFound, Conflict.
        """
        with self._swapping:
            self.registry.refresh()
            card = self.registry.card(version)
            model = self._load_weights(card)
            self.registry.promote(version)
            self._swap(model)
        return card

    def rollback(self) -> Card:
        """Make the previous live version live again, and return its card.

        On an error nothing changes. Raises Conflict, NotFound.
        """
        with self._swapping:
            self.registry.refresh()
            card = self.registry.card(self.registry.previous())
            model = self._load_weights(card)
            self.registry.rollback(expected=card.version)
            self._swap(model)
        return card

    async def watch(self) -> None:
        """Follow CURRENT until cancelled. If loading fails, log it and retry later."""
        tried_stamp, retry_at = None, 0.0
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            try:
                current_stamp = self.registry.stamp()
                is_new = current_stamp is None or current_stamp != self._stamp
                if is_new and (current_stamp != tried_stamp or time.monotonic() > retry_at):
                    tried_stamp, retry_at = current_stamp, time.monotonic() + RETRY_INTERVAL
                    await asyncio.to_thread(self.refresh)
                    self._stamp = current_stamp
                elif self._device_failed() and time.monotonic() > retry_at:
                    retry_at = time.monotonic() + RETRY_INTERVAL
                    await asyncio.to_thread(self.model.network.retry_device)
            except Exception:  # any: the previous version stays live, and the cause may pass
                log.exception("live version failed to load; the previous version stays live")

    def _device_failed(self) -> bool:
        return self._model is not None and bool(self._model.network.device_error)

    def _load(self, version: int) -> Model:
        return self._load_weights(self.registry.card(version))

    def _load_weights(self, card: Card) -> Model:
        version, weights = card.version, self.registry.weights(card.version)
        try:
            network = load_network(weights, self.device)
            model = Model(version, network, card.energy_threshold, card.temperature)
            for size in WARM_UP_SIZES:
                with np.errstate(all="ignore"):  # an overflow is an error below, not a warning
                    _check(model.answer(np.zeros((size, SIDE, SIDE), np.uint8)))
        except Exception as error:  # any, for example a full device: the version must not go live
            raise Conflict(f"Version {version} failed its test prediction: {error}") from error
        return model

    def _swap(self, model: Model) -> None:
        self.swaps += self._model is not None and self._model.version != model.version
        self._model = model
        log.info("version went live: version=%d", model.version)


def _check(answers: Iterable[Answer]) -> None:
    if not all(isfinite(probability) for answer in answers for probability in answer.probabilities):
        raise ArithmeticError("The probabilities are not finite numbers.")
