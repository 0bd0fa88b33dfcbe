"""Atomic file replacement and durable folders, safe against crashes and power failures."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".tmp"
SQLITE_JOURNAL: Final = "-journal"  # what SQLite writes beside a database, until it is complete
PRIVATE: Final = 0o700  # mode of a folder for its owner alone


@contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on exit, its file durably replaces `path`.

    If the body raises, `path` stays unchanged and the temporary file is deleted.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        yield temporary
        temporary.chmod(0o644)  # some writers create files that a backup could not read
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Create a folder and its missing parents durably; the umask limits `mode`.

    Syncing a file does not sync the folders above it: each name is stored in its parent.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode, exist_ok=True)  # another process may have created it just now
    _fsync(path.parent)


def remove(path: Path) -> None:
    """Delete a file durably, so that it does not reappear after a crash."""
    path.unlink(missing_ok=True)
    _fsync(path.parent)


def remove_temporary_files(folder: Path) -> None:
    """Delete the leftovers of killed writers. No writer may be active."""
    for pattern in (f".*{TEMPORARY}", f".*{TEMPORARY}{SQLITE_JOURNAL}"):
        for leftover in folder.glob(pattern):
            leftover.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
