"""Still WebP images, decoded by OpenCV.

Pillow reads every WebP by the decoder for animations, which takes 16 bytes a pixel: a canvas, the
one before it, a copy, and the image. OpenCV takes at most 8. So 50 megapixels fit into the memory
of a decoder process (`app.decoders.limits`).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Bytes a pixel while it is decoded. Measured with 49 megapixels: 5.9, and 7.8 with alpha.
BYTES_PER_PIXEL: Final = 8
HEADER: Final = 12  # "RIFF", size, "WEBP"
CHUNK_HEADER: Final = 8
ANIMATION: Final = 0x02
ORIENTATION: Final = 0x0112


class StillWebP(NamedTuple):
    """The header of a WebP with one frame."""

    data: bytes
    size: tuple[int, int]
    orientation: int
    format: str = "WEBP"

    def decode(self) -> NDArray[np.uint8]:
        """Return (H, W, 3) RGB or (H, W, 4) RGBA pixels. Raises ValueError if they are corrupt."""
        flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(self.data, np.uint8), flags)
        if pixels is None or pixels.ndim != 3 or pixels.shape[1::-1] != self.size:
            raise ValueError("its frame cannot be decoded")
        code = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        cv2.cvtColor(pixels, code, dst=pixels)
        return np.asarray(pixels, np.uint8)


def canvas_size(data: bytes) -> tuple[int, int]:
    """Return the size of the canvas of an animated WebP; (0, 0) for any other file."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        for kind, content in _chunks(data):
            if kind == b"VP8X" and len(content) >= 10 and content[0] & ANIMATION:
                width, height = (int.from_bytes(content[at : at + 3], "little") for at in (4, 7))
                return width + 1, height + 1
    return 0, 0


def open_still(data: bytes) -> StillWebP | None:
    """Return the header of a still WebP, or None for any other file.

    The format is that of RFC 9649, section 2.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    size, orientation = None, 1
    for kind, content in _chunks(data):
        if kind == b"VP8X" and content[0] & ANIMATION:
            return None
        if kind == b"VP8 " and content[3:6] == b"\x9d\x01\x2a":
            width, height = (int.from_bytes(content[at : at + 2], "little") for at in (6, 8))
            size = width & 0x3FFF, height & 0x3FFF
        elif kind == b"VP8L" and content[:1] == b"\x2f":
            bits = int.from_bytes(content[1:5], "little")
            size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        elif kind == b"EXIF":
            orientation = _orientation(content)
    return StillWebP(data, size, orientation) if size else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type of each chunk, and its content: of a picture, the header alone."""
    start = HEADER
    while start + CHUNK_HEADER < len(data):
        kind = data[start : start + 4]
        length = int.from_bytes(data[start + 4 : start + CHUNK_HEADER], "little")
        start += CHUNK_HEADER
        yield kind, data[start : start + (length if kind == b"EXIF" else min(length, 16))]
        start += length + length % 2


def _orientation(content: bytes) -> int:
    """Return the EXIF orientation, or 1 if the metadata is damaged: the pixels may be sound."""
    try:
        exif = Image.Exif()
        exif.load(content)
        return int(exif.get(ORIENTATION, 1))
    except Exception:
        return 1
