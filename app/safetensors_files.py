"""Opening of safetensors files, with the true error if that fails."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """Yield an open file, whose tensors are read as NumPy arrays.

    Raises OSError, SafetensorError. The library reports every file that the system does not open
    as a missing one.
    """
    try:
        file = safe_open(path, framework="np")
    except FileNotFoundError as error:
        raise _reason(path) from error
    with file:
        yield file


def _reason(path: Path) -> OSError:
    """Return the error of opening a file that the library could not open."""
    try:
        path.open("rb").close()
    except OSError as error:
        return error
    return OSError(errno.EIO, os.strerror(errno.EIO), str(path))  # it could not a moment ago
