"""Files that are whole or absent, and folders that stay, whatever happens in between.

What enters: a path and what to write there. What leaves: the file, safe on disk. This module does
not know what is in it.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".tmp"


@contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """Hand out a temporary name beside `path`; on leaving, what lies there durably replaces it.

    Where the body raises, `path` stays as it was and the temporary file goes.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        yield temporary
        temporary.chmod(0o644)  # some writers leave files that a backup could not read
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, so that they are still there after a crash.

    Syncing a file does not make the folders durable that lead to it: each name is in its parent.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)  # another process may be as far
    _fsync(path.parent)


def remove(path: Path) -> None:
    """Remove a file, so that it does not come back after a crash."""
    path.unlink(missing_ok=True)
    _fsync(path.parent)


def remove_temporary_files(folder: Path) -> None:
    """Remove what writers that were killed left behind. Call it where no writer can be at work."""
    for leftover in folder.glob(f".*{TEMPORARY}"):
        leftover.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
