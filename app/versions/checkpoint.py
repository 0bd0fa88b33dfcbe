"""Checkpoint files: MyNet's weights with their card, as safetensors.

Weights from other sources are validated: names, shapes, finite values.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from app.atomic_files import atomic_replace
from app.net import InvalidWeights, check_weights
from app.versions.card import Card

SUFFIX: Final = ".safetensors"
CARD: Final = "card"
ZIP: Final = b"PK\x03\x04"
PICKLE: Final = b"\x80"
MAX_UNPACKED_BYTES: Final = 64 * 1024**2
NEITHER: Final = (
    "is neither a safetensors file nor a state dict saved by torch.save(model.state_dict(), …)"
)


class BadCheckpoint(Exception):
    """A file that cannot be read; `problem` describes the problem without the file's name."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.problem = problem


class IncompatibleWeights(BadCheckpoint):
    """Readable weights that are not MyNet's, or not finite."""


def write(path: Path, weights: Mapping[str, Tensor], card: Card) -> None:
    """Write weights and card as one file, atomically.

    Raises IncompatibleWeights before anything is written.
    """
    # Built in memory, so that a full disk raises OSError and no error of the library.
    content = to_bytes(path, weights, card)
    with atomic_replace(path) as temporary:
        temporary.write_bytes(content)


def to_bytes(path: Path, weights: Mapping[str, Tensor], card: Card) -> bytes:
    """Return the bytes of a file with weights and card. Raises IncompatibleWeights.

    The card gets the digest of the weights. A different digest later means a damaged file.
    """
    sound = _checked(weights, path)
    card = card.model_copy(update={"weights_digest": digest(sound)})
    metadata = {CARD: card.model_dump_json(exclude={"version"})}
    return safetensors.torch.save(_plain(sound), metadata)


def read_card(path: Path) -> Card:
    """Return the card from the file's metadata. Raises BadCheckpoint."""
    try:
        with _opening(path), safe_open(path, framework="pt") as file:
            return Card.model_validate_json((file.metadata() or {})[CARD])
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadCheckpoint(path, f"has no readable card: {error}") from error


def read_content(path: Path) -> bytes:
    """Return the bytes of the file. Raises BadCheckpoint."""
    with _opening(path):
        return path.read_bytes()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return MyNet's weights from a safetensors file, or a state dict that `torch.save` wrote.

    The content decides which format it is, not the name. Raises BadCheckpoint if it is neither,
    IncompatibleWeights if names, shapes or values are not MyNet's.
    """
    try:
        with _opening(path):
            return _checked(_load(path), path)
    except BadCheckpoint:
        raise
    except Exception as error:  # a broken pickle can raise anything
        raise BadCheckpoint(path, NEITHER) from error


def read_verified(path: Path) -> dict[str, Tensor]:
    """Return the weights of a file that `write` made, after checking the digest on its card.

    Raises BadCheckpoint.
    """
    weights = read_weights(path)
    if digest(weights) != read_card(path).weights_digest:
        raise BadCheckpoint(path, "has weights whose digest differs from the one on its card")
    return weights


def digest(weights: Mapping[str, Tensor]) -> str:
    """Return the sha256 of the weights alone, without the card."""
    return hashlib.sha256(safetensors.torch.save(_plain(weights))).hexdigest()


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadCheckpoint(path, f"cannot be read: {error.strerror or error}") from error


def _load(path: Path) -> object:
    with path.open("rb") as file:  # an open file, because torch would go by the name of a path
        head = file.read(9)
        file.seek(0)
        # The length at the start of a safetensors file may look like a pickle; a brace follows it.
        if not head.startswith((ZIP, PICKLE)) or head.endswith(b"{"):
            return safetensors.torch.load_file(path)
        if head.startswith(ZIP):
            _check_unpacked(path)
        # weights_only: a pickle from outside must not be able to run code.
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_unpacked(path: Path) -> None:
    """Raise ValueError if an archive unpacks to more than memory could hold."""
    with ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MAX_UNPACKED_BYTES:
        raise ValueError(f"the archive unpacks to {unpacked} bytes")


def _checked(weights: object, path: Path) -> dict[str, Tensor]:
    try:
        return check_weights(weights)
    except InvalidWeights as error:
        raise IncompatibleWeights(path, f"does not hold MyNet's weights: {error}") from error


def _plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Copies, because tensors of a state dict may share memory, which safetensors rejects.
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in weights.items()
    }
