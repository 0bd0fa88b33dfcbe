"""MNIST in memory, with its digest; missing or damaged files are restored first."""

import hashlib
import logging
import os
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from app.atomic_files import atomic_replace, make_folder, remove_temporary_files
from app.mnist import files
from app.mnist.files import LabelledImages

RAW: Final = Path("MNIST/raw")
log = logging.getLogger(__name__)


class DatasetUnavailable(Exception):
    """MNIST is missing and could not be downloaded."""


class Mnist(NamedTuple):
    """The 60,000 training and the 10,000 test images, with the sha256 of the four arrays.

    The labels count as int64 there, as PyTorch has them.
    """

    train: LabelledImages
    test: LabelledImages
    digest: str


def load(root: Path) -> Mnist:
    """Return MNIST. Missing or damaged files are unpacked first, or downloaded.

    Raises DatasetUnavailable.
    """
    try:
        train, test = (_read_images(root, part) for part in ("train", "t10k"))
    except (OSError, RuntimeError, ValueError) as error:
        raise DatasetUnavailable(f"MNIST could not be read from {root / RAW}: {error}") from error
    digest = hashlib.sha256()
    for images in (train, test):
        digest.update(images.pixels.data)
        digest.update(images.labels.astype(np.int64).data)
    return Mnist(train, test, digest.hexdigest())


def _read_images(root: Path, part: str) -> LabelledImages:
    names = (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
    return files.pair(*(_read(root, name) for name in names))


def _read(root: Path, name: str) -> NDArray[np.uint8]:
    """Return the content of a file. A missing or damaged file is restored first.

    In a folder that cannot be written, as in an image, the archive is read each time instead.
    """
    path = root / RAW / name
    with suppress(FileNotFoundError, ValueError):
        return files.read_unpacked(path)
    if path.parent.exists() and not os.access(path.parent, os.W_OK):
        return files.read_archive(path)
    make_folder(path.parent)
    with FileLock(root / ".lock"):
        remove_temporary_files(path.parent)
        try:
            return files.read_unpacked(path)  # another process has restored it
        except FileNotFoundError:
            pass
        except ValueError as error:
            log.warning("MNIST file is damaged, restoring: file=%s error=%s", name, error)
        _restore(path)
    return files.read_unpacked(path)


def _restore(path: Path) -> None:
    """Unpack a file. A missing or damaged archive is downloaded first."""
    try:
        content = files.unpack(path)
    except (FileNotFoundError, ValueError):
        _download(files.archive_of(path))
        content = files.unpack(path)
    with atomic_replace(path) as temporary:
        temporary.write_bytes(content)


def _download(archive: Path) -> None:
    """Download an archive through torchvision. Raises RuntimeError."""
    # The import takes over two seconds of a core, so only a missing archive triggers it.
    try:
        from torchvision.datasets import MNIST
        from torchvision.datasets.utils import download_url
    except ModuleNotFoundError:
        raise _missing(archive, ", and torchvision, which downloads it, is not installed") from None
    md5 = dict(MNIST.resources)[archive.name]
    failures = []
    for mirror_url in MNIST.mirrors:
        try:
            with atomic_replace(archive) as temporary:
                download_url(f"{mirror_url}{archive.name}", temporary.parent, temporary.name, md5)
            return
        except (OSError, RuntimeError, HTTPException) as error:
            failures.append(f"; {mirror_url} failed: {error}")
    raise _missing(archive, "".join(failures))


def _missing(archive: Path, reason: str) -> RuntimeError:
    return RuntimeError(
        f"{archive.name} is missing or damaged{reason}. Download it to {archive.parent}."
    )
