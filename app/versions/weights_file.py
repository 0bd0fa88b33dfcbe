"""Weights files from outside: safetensors, or a state dict that `torch.save` wrote.

A state dict is a pickle, which PyTorch reads. The server never reads one: the import worker does.
"""

import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from app.devices import is_torch_installed
from app.versions import checkpoint
from app.versions.checkpoint import BadCheckpoint
from app.versions.pickle_protocol import LEGACY_HEAD, ZIP, to_protocol_2
from app.versions.unwrap import Unwrapped, unwrap

PICKLE: Final = b"\x80"
MAX_UNPACKED_BYTES: Final = 64 * 1024**2
GLOBAL: Final = re.compile(r"GLOBAL ([\w.]{1,100})")  # in errors of PyTorch's restricted reader
SAVE_STATE_DICT: Final = "Send the weights alone: torch.save(model.state_dict(), ...)"
NEEDS_TORCH: Final = (
    "looks like a state dict saved by torch.save, which this service cannot read, since PyTorch is "
    "not installed. Send a .safetensors file"
)


class FileWeights(NamedTuple):
    """MyNet's weights in a file, and the wrappers around their names that `unwrap` removed."""

    weights: dict[str, NDArray[np.float32]]
    wrappers: list[str]


def is_state_dict(path: Path) -> bool:
    """Return whether a file starts as a state dict, whatever its name. Raises BadCheckpoint."""
    head = checkpoint.read_content(path)[:9]
    # The length at the start of a safetensors file may look like a pickle; a brace follows it.
    return head.startswith((ZIP, PICKLE, LEGACY_HEAD[:9])) and not head.endswith(b"{")


def read(path: Path) -> FileWeights:
    """Return MyNet's weights from a file.

    The content decides which format it is, not the name. Raises BadCheckpoint if it is neither,
    UnreadableCheckpoint, IncompatibleWeights if names, shapes or values are not MyNet's.
    """
    in_file = _read_state_dict(path) if is_state_dict(path) else _read_safetensors(path)
    return FileWeights(checkpoint.check(path, in_file.weights), in_file.wrappers)


def _read_safetensors(path: Path) -> Unwrapped:
    return unwrap(checkpoint.read_arrays(path))


def _read_state_dict(path: Path) -> Unwrapped:
    if not is_torch_installed():
        raise BadCheckpoint(path, NEEDS_TORCH)
    content = checkpoint.read_content(path)
    try:
        return _load(content)
    except Exception as error:  # a broken pickle can raise anything
        raise BadCheckpoint(path, _problem(error)) from error


def _load(content: bytes) -> Unwrapped:
    import torch

    if content.startswith(ZIP):
        _check_unpacked(content)
    file = BytesIO(to_protocol_2(content))
    # weights_only: a pickle from outside must not be able to run code.
    in_file = unwrap(torch.load(file, map_location="cpu", weights_only=True))
    if not isinstance(in_file.weights, Mapping):
        return in_file
    arrays = {name: _to_array(value) for name, value in in_file.weights.items()}
    return Unwrapped(arrays, in_file.wrappers)


def _problem(error: Exception) -> str:
    """Return what is wrong with a file that PyTorch did not read."""
    if found := GLOBAL.search(str(error)):
        return f"holds `{found[1]}`, which is not loaded: it could run code. {SAVE_STATE_DICT}"
    if "TorchScript" in str(error):
        return f"is a TorchScript archive. {SAVE_STATE_DICT}"
    return checkpoint.NEITHER


def _check_unpacked(content: bytes) -> None:
    """Raise ValueError if an archive unpacks to more than memory could hold."""
    with ZipFile(BytesIO(content)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MAX_UNPACKED_BYTES:
        raise ValueError(f"the archive unpacks to {unpacked} bytes")


def _to_array(value: Any) -> Any:
    """Return a tensor of floating-point numbers as an array, and anything else as it is."""
    import torch

    is_dense = isinstance(value, torch.Tensor) and value.layout == torch.strided
    if not is_dense or value.is_meta or not value.is_floating_point():
        return value
    return value.detach().to(torch.float32).numpy()
