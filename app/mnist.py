"""MNIST file reader: IDX files, plain or gzipped, and the test images.

It downloads and writes nothing, and needs no torchvision.

A power failure can leave a file truncated, empty, or full of zeros. So each file is checked against
its own header, and against the CRC-32 in its gzip archive, if there is one: 11 ms for 47 MB.
"""

import gzip
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import NotReady
from app.net import SIDE

IMAGES: Final = "t10k-images-idx3-ubyte"
LABELS: Final = "t10k-labels-idx1-ubyte"
UINT8: Final = 0x08
CRC: Final = slice(-8, -4)  # of a gzip archive, little-endian: RFC 1952, section 2.3.1


class LabelledImages(NamedTuple):
    """Pixels, (N, 28, 28) uint8, ink light on dark; labels, (N,) uint8."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@lru_cache(1)
def read_test_images(data_dir: Path) -> LabelledImages:
    """Return the test images, from plain or gzipped files. Raises NotReady if they are missing."""
    raw = data_dir / "MNIST" / "raw"
    try:
        return pair(_read(raw / IMAGES), _read(raw / LABELS))
    except FileNotFoundError:
        raise NotReady(
            "MNIST's test images have not been downloaded yet. The first training job does that."
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise NotReady(f"MNIST's test images cannot be read: {reason}.") from error


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


def archive_of(path: Path) -> Path:
    """Return the path of the gzip archive of an IDX file."""
    return path.with_name(f"{path.name}.gz")


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return read_unpacked(path)
    except (FileNotFoundError, ValueError):
        if not archive_of(path).exists():
            raise
    return _parse(path.name, unpack(path))


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
