"""MNIST's files: the IDX format, unpacked or packed, and the test images.

What enters: the folder that holds `MNIST/raw`. What leaves: arrays, of files that are whole.
Nothing is downloaded or written, and torchvision is not needed. This module does not know what
anybody answers for an image.

A power cut can leave a file that is cut short, empty, or full of zeros. So a file is compared with
its own header, and with the CRC-32 in the gzip archive beside it, if there is one: 11 ms for 47 MB.
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
    """Read the test images, packed or unpacked. Raises NotReady where they are not there."""
    raw = data_dir / "MNIST" / "raw"
    try:
        return pair(_read(raw / IMAGES), _read(raw / LABELS))
    except FileNotFoundError:
        raise NotReady(
            "MNIST's test images are not here yet: they come with the first training."
        ) from None
    except (OSError, ValueError) as error:
        raise NotReady(f"MNIST's test images cannot be read: {error}") from error


def pair(pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> LabelledImages:
    """Return images with their labels. Raises ValueError if their numbers differ."""
    if len(pixels) != len(labels):
        raise ValueError(f"there are {len(pixels)} images, but {len(labels)} labels")
    return LabelledImages(pixels, labels)


def read_unpacked(path: Path) -> NDArray[np.uint8]:
    """Return what an unpacked IDX file holds, as a writable array.

    Raises FileNotFoundError, ValueError if the file is damaged.
    """
    content = bytearray(path.read_bytes())
    array = _parse(path.name, content)
    if _is_contradicted(path, content):
        raise ValueError(f"{path.name} is damaged: {archive_of(path).name} holds something else")
    return array


def unpack(path: Path) -> bytes:
    """Return what the archive beside an IDX file holds.

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
    """Return the path of the archive that holds an IDX file."""
    return path.with_name(f"{path.name}.gz")


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return read_unpacked(path)
    except (FileNotFoundError, ValueError):
        if not archive_of(path).exists():
            raise
    return _parse(path.name, unpack(path))


def _parse(name: str, content: bytes | bytearray) -> NDArray[np.uint8]:
    """Read an IDX file: two zeros, the type, the number of sizes, the sizes, the values."""
    start = 4 + 4 * content[3] if len(content) > 3 else 4
    if len(content) < start or content[:3] != bytes((0, 0, UINT8)):
        raise ValueError(f"{name} is no IDX file of bytes: it begins with {content[:4].hex()!r}")
    sizes = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    if sizes[1:] != ((SIDE, SIDE) if "-images-" in name else ()):
        raise ValueError(f"{name} has the shape {sizes}, which is not MNIST's")
    values = np.frombuffer(content, np.uint8)[start:]
    if len(values) != np.prod(sizes):
        raise ValueError(f"{name} holds {len(values)} values, but its header says {sizes}")
    return values.reshape(sizes)


def _is_contradicted(path: Path, content: bytearray) -> bool:
    """Return whether the archive beside a file holds something else, and is sound itself."""
    try:
        checksum = archive_of(path).read_bytes()[CRC]
        return checksum != zlib.crc32(content).to_bytes(4, "little") and unpack(path) != content
    except (OSError, ValueError):
        return False
