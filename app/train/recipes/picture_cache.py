"""Cache of drawn pictures in the state folder, for the recipe `robust`.

Drawing takes minutes. A resumed attempt, or a second job with the same seed and images, reads
pictures instead. The key has everything that they depend on, and a digest is checked when they are
read: a hit has the same bits as drawing again. The cache is never needed, so its errors are logged.
"""

import hashlib
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from app.atomic_files import TEMPORARY, atomic_replace, make_folder
from app.train.recipes.dataset import Digits

SUFFIX: Final = ".pictures"
# Files of 44 MB; the least recently used ones are deleted.
MAX_FILES: Final = 4
DIGEST_BYTES: Final = 32
# Seconds after which a temporary file is the leftover of a killed process.
LEFTOVER_AGE: Final = 3600.0
APP: Final = Path(__file__).parents[2]
# Packages and folders of the code that draws.
PACKAGES: Final = ("numpy", "opencv-python-headless", "pillow")
SOURCES: Final = ("train/recipes", "image")
Pictures: TypeAlias = Mapping[str, NDArray[np.generic]]
log = logging.getLogger(__name__)


class PictureCache:
    """Files of drawn pictures in one folder."""

    def __init__(self, folder: Path, max_files: int = MAX_FILES) -> None:
        self.folder, self.max_files = folder, max_files

    def load(self, key: str) -> Pictures | None:
        """Return the pictures with this key, or None if they are missing or damaged."""
        path = self._path(key)
        try:
            return self._read(path)
        except OSError as error:
            log.warning("drawn pictures could not be read: file=%s error=%s", path, error)
            return None

    def store(self, key: str, pictures: Pictures) -> None:
        """Store the pictures with this key, if the disk takes them."""
        path = self._path(key)
        try:
            self._write(path, pictures)
        except OSError as error:
            log.warning("drawn pictures could not be stored: file=%s error=%s", path, error)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _read(self, path: Path) -> Pictures | None:
        """Return the pictures of a file, or None if it is missing or damaged. Raises OSError."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        digest, body = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            log.warning("drawn pictures are damaged, drawing them again: file=%s", path)
            return None
        with suppress(OSError):  # another process may have deleted it just now
            os.utime(path)
        arrays = safetensors.numpy.load(body)
        return {name: array.copy() for name, array in arrays.items()}

    def _write(self, path: Path, pictures: Pictures) -> None:
        body = safetensors.numpy.save(dict(pictures))
        make_folder(self.folder)
        with atomic_replace(path) as temporary:
            temporary.write_bytes(hashlib.sha256(body).digest() + body)
        self._delete_old()

    def _delete_old(self) -> None:
        """Delete all but the most recently used files, and leftovers of killed processes."""
        used_at = {path: _modified_at(path) for path in self.folder.glob(f"*{SUFFIX}")}
        for path in sorted(used_at, key=lambda path: used_at[path])[: -self.max_files]:
            path.unlink(missing_ok=True)
        for path in self.folder.glob(f".*{TEMPORARY}"):
            if _modified_at(path) < time.time() - LEFTOVER_AGE:
                path.unlink(missing_ok=True)


def key_of(seed: int, digits: Digits, *counts: int) -> str:
    """Return the key of pictures that are drawn with a seed, from these digits."""
    digest = hashlib.sha256(f"{seed} {counts} {_code_digest()}".encode())
    digest.update(digits.pixels.numpy().tobytes())
    digest.update(digits.labels.numpy().tobytes())
    return digest.hexdigest()


@cache
def _code_digest() -> str:
    """Return the sha256 of the code that draws, and of the versions of its packages."""
    digest = hashlib.sha256(repr([version_of(name) for name in PACKAGES]).encode())
    for folder in SOURCES:
        for path in sorted((APP / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process has deleted it
        return 0.0
