"""Storage of weights that the import worker returned.

The worker has read hostile bytes, so the server checks its result again, and stores the version.
"""

import logging
from importlib.metadata import version as version_of
from typing import Literal

import safetensors.torch
import torch
from torch import Tensor

from app.config.settings import Settings
from app.database.tables import now
from app.net import InvalidWeights, check_weights
from app.versions import checkpoint
from app.versions.card import Card
from app.versions.registry import Registry
from app.versions.retention import apply_retention
from app.weights_import.messages import Evaluation

Origin = Literal["checkpoint", "uploaded"]
log = logging.getLogger(__name__)


def check_returned_weights(content: bytes) -> dict[str, Tensor]:
    """Return the weights in the safetensors bytes of the worker. Raises InvalidWeights."""
    try:
        weights = safetensors.torch.load(content)
    except Exception as error:  # not only SafetensorError: a type may be unknown to torch
        raise InvalidWeights(f"its weights are no safetensors file: {error!s:.200}") from error
    for name, tensor in weights.items():
        if tensor.dtype != torch.float32:
            raise InvalidWeights(f"{name:.40} has the type {tensor.dtype}, not float32")
    return check_weights(weights)


def store_version(
    settings: Settings,
    registry: Registry,
    weights: dict[str, Tensor],
    evaluation: Evaluation,
    origin: Origin,
    note: str | None,
) -> int:
    """Store checked weights as a new version, and return its number. It does not go live."""
    card = Card(
        **evaluation.metrics.model_dump(),
        origin=origin,
        created_at=now(),
        note=note,
        data_digest=evaluation.data_digest,
        weights_digest=checkpoint.digest(weights),
        torch_version=torch.__version__,
        code_version=version_of("mynet"),
    )
    version = registry.save(weights, card)
    apply_retention(settings, registry)
    return version
