"""Storage of weights that the import worker returned.

The worker has read hostile bytes, so the server checks its result again, and stores the version.
"""

import logging
from importlib.metadata import version as version_of
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from app.config.settings import Settings
from app.database.tables import now
from app.devices import is_torch_installed
from app.net import InvalidWeights, Weights, check_weights
from app.versions import checkpoint
from app.versions.card import Card
from app.versions.registry import Registry
from app.versions.retention import apply_retention
from app.weights_import.messages import Evaluation

Origin = Literal["checkpoint", "uploaded"]
log = logging.getLogger(__name__)


def check_returned_weights(content: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the weights in the safetensors bytes of the worker. Raises InvalidWeights."""
    try:
        weights = checkpoint.parse(content)
    except (SafetensorError, ValueError) as error:
        raise InvalidWeights(f"its weights are no safetensors file: {error!s:.200}") from error
    for name, array in weights.items():
        if array.dtype != np.float32:
            raise InvalidWeights(f"{name:.40} has the type {array.dtype}, not float32")
    return check_weights(weights)


def version_with(registry: Registry, weights: Weights) -> int | None:
    """Return the oldest version that has these weights, or None."""
    digest = checkpoint.digest(weights)
    same = (card.version for card in registry.cards() if card.weights_digest == digest)
    return next(same, None)


def store_version(
    settings: Settings,
    registry: Registry,
    weights: Weights,
    evaluation: Evaluation,
    origin: Origin,
    note: str | None,
) -> Card:
    """Store checked weights as a new version, and return its card. It does not go live."""
    card = Card(
        **evaluation.metrics.model_dump(),
        origin=origin,
        created_at=now(),
        note=note,
        wrappers=evaluation.wrappers,
        data_digest=evaluation.data_digest,
        weights_digest=checkpoint.digest(weights),
        torch_version=version_of("torch") if is_torch_installed() else "",
        code_version=version_of("mynet"),
    )
    version = registry.save(weights, card)
    apply_retention(settings, registry)
    # Another service may have deleted it already, by its retention.
    return card.model_copy(update={"version": version})
