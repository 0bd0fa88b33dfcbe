"""Fast path for plain PNG files, and PNG data URLs.

Pillow spends three quarters of its time on such a file detecting its format. This module checks for
three chunks in a row (PNG specification, third edition, W3C 2025, 5 "Datastream structure") and
passes the pixels to the same decoder of Pillow.
"""

import base64
from io import BytesIO
from struct import Struct
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEAD: Final = Struct(">16s I I 5s I I 4s")
BEGIN: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
GREY: Final = b"\x08\x00\x00\x00\x00"  # 8 bits, no colour, not interlaced
END: Final = b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"
CHECKSUM: Final = 4
MAX_SIDE: Final = 128  # `decode` reduces longer sides


def read_plain_png(data: bytes, max_pixels: int) -> NDArray[np.uint8] | None:
    """Return (H, W) uint8 pixels if the file is plain, valid and within `max_pixels`; else None."""
    if len(data) < HEAD.size or not data.endswith(END):
        return None
    begin, width, height, form, header_sum, length, kind = HEAD.unpack_from(data)
    if begin != BEGIN or form != GREY or kind != b"IDAT" or not 0 < width * height <= max_pixels:
        return None
    if max(width, height) > MAX_SIDE:
        return None
    end = HEAD.size + length
    if end + CHECKSUM + len(END) != len(data):
        return None
    sums = header_sum, int.from_bytes(data[end : end + CHECKSUM])
    if sums != (crc32(data[12:29]), crc32(data[37:end])):
        return None
    packed = data[HEAD.size : end]
    try:
        image = Image.frombytes("L", (width, height), packed, "zip", "L", 0)
    except ValueError:
        return None
    return np.frombuffer(image.tobytes(), np.uint8).reshape(height, width)


def to_data_url(pixels: NDArray[np.uint8]) -> str:
    """Return (H, W) uint8 pixels as a PNG data URL."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
