"""One file, one version: MyNet's weights with their card, as safetensors.

What enters: weights and a card, or a file from anywhere. What leaves: the file, or weights that are
known to be MyNet's. This module does not know of version numbers, nor which version is live.
"""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from app.card import Card
from app.durable import replacing
from app.net import BadWeights, check_weights

SUFFIX: Final = ".safetensors"
CARD: Final = "card"


class BadCheckpoint(Exception):
    """A file that does not hold MyNet's weights; the message says what is wrong with it."""


def write(path: Path, weights: Mapping[str, Tensor], card: Card) -> None:
    """Write weights and card as one file, atomically."""
    metadata = {CARD: card.model_dump_json(exclude={"version"})}
    with replacing(path) as temporary:
        # Through memory, so that a full disk is an OSError and not one of the library's own.
        temporary.write_bytes(safetensors.torch.save(_plain(weights), metadata))


def read_card(path: Path) -> Card:
    """Read the card alone, from the file's metadata. Raises BadCheckpoint."""
    try:
        with safe_open(path, framework="pt") as file:
            return Card.model_validate_json((file.metadata() or {})[CARD])
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadCheckpoint(f"{path} has no readable card: {error}") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read MyNet's weights from `.safetensors`, or from a state dict that `torch.save` wrote.

    Raises BadCheckpoint where it is neither, or where names, shapes or values are not MyNet's.
    """
    try:
        weights = _load(path)
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {error}") from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise BadCheckpoint(
            f"{path} is neither a safetensors file nor a state dict saved by torch.save"
        ) from error
    try:
        return check_weights(weights)
    except BadWeights as error:
        raise BadCheckpoint(f"{path} does not hold MyNet's weights: {error}") from error


def digest(weights: Mapping[str, Tensor]) -> str:
    """Give the sha256 of the weights alone, whatever card lies beside them."""
    return hashlib.sha256(safetensors.torch.save(_plain(weights))).hexdigest()


def _load(path: Path) -> object:
    if path.suffix == SUFFIX:
        return safetensors.torch.load_file(path)
    # weights_only: a pickle from elsewhere must not be able to run code here.
    return torch.load(path, map_location="cpu", weights_only=True)


def _plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
