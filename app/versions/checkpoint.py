"""Checkpoint files: MyNet's weights with their card, as safetensors.

Weights from other sources are validated: names, shapes, finite values.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from app.atomic_files import atomic_replace
from app.net import InvalidWeights, Weights, check_weights
from app.safetensors_files import open_safetensors
from app.versions.card import Card

SUFFIX: Final = ".safetensors"
CARD: Final = "card"
FLOATS: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
NEITHER: Final = (
    "is neither a safetensors file nor a state dict saved by torch.save(model.state_dict(), …)"
)


class BadCheckpoint(Exception):
    """A file that cannot be read; `problem` describes the problem without the file's name."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.problem = problem


class UnreadableCheckpoint(BadCheckpoint):
    """A file that the disk does not give; what is in it may be sound."""


class IncompatibleWeights(BadCheckpoint):
    """Readable weights that are not MyNet's, or not finite."""


def write(path: Path, weights: Weights, card: Card) -> None:
    """Write weights and card as one file, atomically.

    Raises IncompatibleWeights before anything is written.
    """
    # Built in memory, so that a full disk raises OSError and no error of the library.
    content = to_bytes(path, weights, card)
    with atomic_replace(path) as temporary:
        temporary.write_bytes(content)


def to_bytes(path: Path, weights: Weights, card: Card) -> bytes:
    """Return the bytes of a file with weights and card. Raises IncompatibleWeights.

    The card gets the digest of the weights. A different digest later means a damaged file.
    """
    sound = check(path, weights)
    card = card.model_copy(update={"weights_digest": digest(sound)})
    metadata = {CARD: card.model_dump_json(exclude={"version"})}
    return safetensors.numpy.save(sound, metadata)


def read_card(path: Path) -> Card:
    """Return the card from the file's metadata. Raises BadCheckpoint, UnreadableCheckpoint."""
    try:
        with _opening(path), open_safetensors(path) as file:
            return Card.model_validate_json((file.metadata() or {})[CARD])
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadCheckpoint(path, f"has no readable card: {error}") from error


def read_content(path: Path) -> bytes:
    """Return the bytes of the file. Raises UnreadableCheckpoint."""
    with _opening(path):
        return path.read_bytes()


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return MyNet's weights from a safetensors file.

    Raises BadCheckpoint if it is none, IncompatibleWeights if names, shapes or values are not
    MyNet's.
    """
    return check(path, read_arrays(path))


def read_arrays(path: Path) -> dict[str, NDArray[np.floating[Any]]]:
    """Return all arrays of a safetensors file. Raises the same errors as `read_weights`."""
    try:
        return parse(read_content(path))
    except InvalidWeights as error:
        raise _incompatible(path, error) from error
    except (SafetensorError, ValueError) as error:
        raise BadCheckpoint(path, NEITHER) from error


def check(path: Path, weights: object) -> dict[str, NDArray[np.float32]]:
    """Return the weights that were read from a file, as MyNet's. Raises IncompatibleWeights."""
    try:
        return check_weights(weights)
    except InvalidWeights as error:
        raise _incompatible(path, error) from error


def parse(content: bytes) -> dict[str, NDArray[np.floating[Any]]]:
    """Return the arrays in safetensors bytes.

    Raises SafetensorError or ValueError if they are none, InvalidWeights for another type.
    """
    tensors: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    return {name: _to_array(name, tensor) for name, tensor in tensors}


def read_verified(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a file that `write` made, after checking the digest on its card.

    Raises BadCheckpoint.
    """
    weights = read_weights(path)
    if digest(weights) != read_card(path).weights_digest:
        raise BadCheckpoint(path, "has weights whose digest differs from the one on its card")
    return weights


def digest(weights: Weights) -> str:
    """Return the sha256 of the weights alone, without the card."""
    return hashlib.sha256(safetensors.numpy.save(dict(weights))).hexdigest()


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        raise UnreadableCheckpoint(path, problem) from error


def _to_array(name: str, tensor: dict[str, Any]) -> NDArray[np.floating[Any]]:
    """Return one tensor of a safetensors file as an array. Raises InvalidWeights."""
    data, dtype = tensor["data"], tensor["dtype"]
    if dtype == "BF16":  # the upper half of a float32; NumPy has no such type
        array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    elif dtype in FLOATS:
        array = np.frombuffer(data, FLOATS[dtype])
    else:
        raise InvalidWeights(f"{name:.40} has the type {dtype}; send F32, F16, BF16 or F64")
    return array.reshape(tensor["shape"])


def _incompatible(path: Path, error: InvalidWeights) -> IncompatibleWeights:
    return IncompatibleWeights(path, f"does not hold MyNet's weights: {error}")
