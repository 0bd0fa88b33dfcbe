"""What must be there before the first request: versions, and one of them live.

What enters: settings. What leaves: a registry that has something to serve. This module does not
know who serves it.
"""

import logging
import multiprocessing
import subprocess
import sys
from typing import Final

from app import checkpoint
from app.checkpoint import BadCheckpoint
from app.errors import Refusal
from app.net import BadDevice
from app.registry import Registry
from app.settings import Settings

log = logging.getLogger(__name__)


class CannotStart(Exception):
    """The service has nothing that it could serve; the message says why."""


CANNOT_SERVE: Final = (BadCheckpoint, BadDevice, CannotStart, Refusal)


def open_registry(settings: Settings) -> Registry:
    """Open the versions, with the shipped ones among them, and one of them live.

    Raises BadCheckpoint, CannotStart.
    """
    registry = Registry(settings.models_dir)
    registry.adopt_shipped()
    if registry.current() is None:
        raise CannotStart(f"There is no version in {registry.folder}, and none is shipped.")
    return registry


def prepare(settings: Settings) -> Registry:
    """Open the versions for a service: `MYNET_CHECKPOINT` goes live, where it is set.

    Raises BadCheckpoint, CannotStart.
    """
    registry = open_registry(settings)
    # Once a service, not once a worker: a worker that is started anew must not undo a promotion.
    if settings.checkpoint and multiprocessing.parent_process() is None:
        digest = checkpoint.digest(checkpoint.read_weights(settings.checkpoint))
        version = _known(registry, digest) or _admit(settings, registry, digest)
        registry.promote(version)
        log.info("%s is version %d, and live", settings.checkpoint, version)
    return registry


def _known(registry: Registry, digest: str) -> int | None:
    matches = (card.version for card in registry.cards() if card.weights_digest == digest)
    return next(matches, None)


def _admit(settings: Settings, registry: Registry, digest: str) -> int:
    """Evaluate and store the file, in a process that may load what evaluation needs."""
    done = subprocess.run(
        [sys.executable, "-m", "app.train.admit"],
        input=settings.model_dump_json(),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    version = _known(registry, digest)
    if done.returncode != 0 or version is None:
        raise CannotStart(f"{settings.checkpoint} did not become a version: {done.stderr.strip()}")
    return version
