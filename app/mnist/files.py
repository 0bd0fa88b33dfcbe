"""MNIST file reader: IDX files, plain or gzipped, and the test images.

It downloads and writes nothing, and needs no torchvision.

A power failure can leave a file truncated, empty, or full of zeros. So each file is checked against
its own header, and against the CRC-32 in its gzip archive, if there is one: 11 ms for 47 MB.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import NotReady
from app.net import DIGITS, SIDE

TRAIN_LABELS: Final = "train-labels-idx1-ubyte"
# Of the 60,000 training images, by digit, as MNIST was published.
TRAIN_COUNTS: Final = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
TEST: Final = "t10k"
UINT8: Final = 0x08
CRC: Final = slice(-8, -4)  # of a gzip archive, little-endian: RFC 1952, section 2.3.1


class LabelledImages(NamedTuple):
    """Pixels, (N, 28, 28) uint8, ink light on dark; labels, (N,) uint8."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@lru_cache(1)
def read_test_images(data_dir: Path) -> LabelledImages:
    """Return the test images, from plain or gzipped files. Raises NotReady if they are missing."""
    return read_images(data_dir, TEST)


def read_images(data_dir: Path, part: str) -> LabelledImages:
    """Return the images of the part `train` or `t10k`. Raises NotReady if they are missing."""
    raw = data_dir / "MNIST" / "raw"
    what = "MNIST's test images" if part == TEST else "MNIST's training images"
    names = (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
    try:
        with _readable(what):
            return pair(*(_read(raw / name) for name in names))
    except FileNotFoundError:
        raise NotReady(
            f"{what} have not been downloaded yet. The first training job does that."
        ) from None


def count_training_images(data_dir: Path) -> list[int]:
    """Return the number of training images by digit; the published numbers before the download.

    Raises NotReady if the labels cannot be read.
    """
    try:
        with _readable("MNIST's training labels"):
            labels = _read(data_dir / "MNIST" / "raw" / TRAIN_LABELS)
    except FileNotFoundError:
        return [*TRAIN_COUNTS]
    counts: list[int] = np.bincount(labels, minlength=DIGITS).tolist()
    return counts


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Raise NotReady if the files of `what` cannot be read, unless they are missing."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise NotReady(f"{what} cannot be read: {reason}.") from error


def pair(pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> LabelledImages:
    """Return images with their labels. Raises ValueError if their numbers differ."""
    if len(pixels) != len(labels):
        raise ValueError(f"there are {len(pixels)} images, but {len(labels)} labels")
    return LabelledImages(pixels, labels)


def read_unpacked(path: Path) -> NDArray[np.uint8]:
    """Return the content of a plain IDX file as a writable array.

    Raises FileNotFoundError, ValueError if the file is damaged.
    """
    content = bytearray(path.read_bytes())
    array = _parse(path.name, content)
    if _is_contradicted(path, content):
        raise ValueError(f"{path.name} is damaged: it differs from {archive_of(path).name}")
    return array


def unpack(path: Path) -> bytes:
    """Return the content of an IDX file's gzip archive.

    Raises FileNotFoundError, ValueError if the archive is damaged.
    """
    archive = archive_of(path)
    try:
        content = gzip.decompress(archive.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{archive.name} is damaged: {error}") from error
    _parse(archive.name, content)
    return content


def read_archive(path: Path) -> NDArray[np.uint8]:
    """Return the content of an IDX file's gzip archive as a writable array.

    Raises FileNotFoundError, ValueError if the archive is damaged.
    """
    return _parse(path.name, bytearray(unpack(path)))


def archive_of(path: Path) -> Path:
    """Return the path of the gzip archive of an IDX file."""
    return path.with_name(f"{path.name}.gz")


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return read_unpacked(path)
    except (FileNotFoundError, ValueError):
        if not archive_of(path).exists():
            raise
    return read_archive(path)


def _parse(name: str, content: bytes | bytearray) -> NDArray[np.uint8]:
    """Parse an IDX file: two zeros, the type, the number of dimensions, the sizes, the values."""
    start = 4 + 4 * content[3] if len(content) > 3 else 4
    if len(content) < start or content[:3] != bytes((0, 0, UINT8)):
        raise ValueError(
            f"{name} is not an IDX file of bytes: it starts with {content[:4].hex()!r}"
        )
    sizes = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if sizes[1:] != ((SIDE, SIDE) if "-images-" in name else ()):
        raise ValueError(f"{name} has the shape {sizes}, which is not MNIST's")
    values = np.frombuffer(content, np.uint8)[start:]
    if len(values) != np.prod(sizes):
        raise ValueError(f"{name} has {len(values)} values, but its header announces {sizes}")
    return values.reshape(sizes)


def _is_contradicted(path: Path, content: bytearray) -> bool:
    """Return whether a file differs from its gzip archive, and that archive is valid."""
    try:
        checksum = archive_of(path).read_bytes()[CRC]
        return checksum != zlib.crc32(content).to_bytes(4, "little") and unpack(path) != content
    except (OSError, ValueError):
        return False
