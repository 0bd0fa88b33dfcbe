"""One file, one version: MyNet's weights with their card, as safetensors.

What enters: weights and a card, or a file from anywhere. What leaves: the file, or weights that are
known to be MyNet's. This module does not know of version numbers, nor which version is live.
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
    """A file that cannot be read; `problem` says what is wrong with it, without its name."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.problem = problem


class IncompatibleWeights(BadCheckpoint):
    """Weights that can be read, and are not MyNet's or not finite."""


def write(path: Path, weights: Mapping[str, Tensor], card: Card) -> None:
    """Write weights and card as one file, atomically.

    Raises IncompatibleWeights, and writes nothing then.
    """
    # Through memory, so that a full disk is an OSError and not one of the library's own.
    content = to_bytes(path, weights, card)
    with atomic_replace(path) as temporary:
        temporary.write_bytes(content)


def to_bytes(path: Path, weights: Mapping[str, Tensor], card: Card) -> bytes:
    """Return the bytes of a file with weights and card. Raises IncompatibleWeights.

    The card is told the weights' digest: what has another one is taken for damaged.
    """
    sound = _checked(weights, path)
    card = card.model_copy(update={"weights_digest": digest(sound)})
    metadata = {CARD: card.model_dump_json(exclude={"version"})}
    return safetensors.torch.save(_plain(sound), metadata)


def read_card(path: Path) -> Card:
    """Read the card alone, from the file's metadata. Raises BadCheckpoint."""
    try:
        with _opening(path), safe_open(path, framework="pt") as file:
            return Card.model_validate_json((file.metadata() or {})[CARD])
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadCheckpoint(path, f"has no readable card: {error}") from error


def read_content(path: Path) -> bytes:
    """Read the file as it is. Raises BadCheckpoint."""
    with _opening(path):
        return path.read_bytes()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read MyNet's weights from `.safetensors`, or from a state dict that `torch.save` wrote.

    Which of the two it is, its content says, not its name. Raises BadCheckpoint where it is
    neither, IncompatibleWeights where names, shapes or values are not MyNet's.
    """
    try:
        with _opening(path):
            return _checked(_load(path), path)
    except BadCheckpoint:
        raise
    except Exception as error:  # a broken pickle raises whatever it likes
        raise BadCheckpoint(path, NEITHER) from error


def read_verified(path: Path) -> dict[str, Tensor]:
    """Read the weights of a file that `write` made, and compare them with the card's digest.

    Raises BadCheckpoint.
    """
    weights = read_weights(path)
    if digest(weights) != read_card(path).weights_digest:
        raise BadCheckpoint(path, "holds weights with another digest than its card says")
    return weights


def digest(weights: Mapping[str, Tensor]) -> str:
    """Return the sha256 of the weights alone, whatever card lies beside them."""
    return hashlib.sha256(safetensors.torch.save(_plain(weights))).hexdigest()


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadCheckpoint(path, f"cannot be read: {error.strerror or error}") from error


def _load(path: Path) -> object:
    with path.open("rb") as file:  # open, since torch goes by the name where it has one
        head = file.read(9)
        file.seek(0)
        # The length that a safetensors file begins with may look like a pickle; a brace follows.
        if not head.startswith((ZIP, PICKLE)) or head.endswith(b"{"):
            return safetensors.torch.load_file(path)
        if head.startswith(ZIP):
            _check_unpacked(path)
        # weights_only: a pickle from elsewhere must not be able to run code here.
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_unpacked(path: Path) -> None:
    """A few kilobytes of a packed archive can hold more than the memory does."""
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
    # Copies, since tensors in one state dict may share memory, which safetensors refuses.
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in weights.items()
    }
