"""Decoder for small plain PNG files, as canvases and MNIST clients send them; PNG data URLs.

libpng undoes the filters of the rows in a fraction of the time that Pillow takes to detect the
format. But libpng inflates whatever a file contains: 16 KB hold it for 0.14 s. It also prints what
it finds wrong to standard error. So this module checks the chunks and inflates the rows, and libpng
reads a file that this module wrote (PNG specification, third edition, W3C 2025, 5 "Datastream
structure", 9 "Filtering" and 10 "Compression").
"""

import base64
import re
import zlib
from collections.abc import Sequence
from io import BytesIO
from struct import Struct
from typing import Final, NamedTuple
from zlib import adler32, crc32, decompressobj

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.image.gray import flatten, to_tones

MAX_SIDE: Final = 128
SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
BEGIN: Final = SIGNATURE + b"\x00\x00\x00\x0dIHDR"
END: Final = b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"
HEADER: Final = Struct(">16sII5sI")  # the last is a checksum
CHUNK: Final = Struct(">I4s")  # length and kind; the content and a checksum follow
CHECKSUM_BYTES: Final = 4
MAX_CHUNKS: Final = 32
# The forms of the header: 8 bits a channel, not interlaced. The values are the bytes of a pixel.
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = (bytes((8, kind, 0, 0, 0)) for kind in (0, 2, 3, 4, 6))
PIXEL_BYTES: Final = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
# The chunks between the header and the end. Some change no pixel. Text is not among these, because
# Pillow reads an orientation from it.
HARMLESS: Final = b"(?:gAMA|cHRM|sRGB|pHYs|sBIT|bKGD|tIME)*"
LAYOUT: Final = re.compile(HARMLESS + b"(?:IDAT)+" + HARMLESS)
PALETTE_LAYOUT: Final = re.compile(HARMLESS + b"PLTE" + HARMLESS + b"(?:tRNS)?" + LAYOUT.pattern)
ENTRY_BYTES: Final = 3  # of a palette
FILTERS: Final = b"\0\1\2\3\4"
# zlib's stream of blocks that are not compressed (RFC 1950, 2.2; RFC 1951, 3.2.4).
STREAM_HEAD: Final = b"\x78\x01"
STORED_BLOCK: Final = Struct("<BHH")  # whether it is the last, the length, and its complement
MAX_BLOCK: Final = 0xFFFF


class PlainPng(NamedTuple):
    """A plain, valid PNG: size, form, the chunks before its pixels, and the filtered rows."""

    width: int
    height: int
    form: bytes
    head: bytes
    rows: bytes


def read_plain_png(data: bytes, max_pixels: int) -> NDArray[np.uint8] | None:
    """Return (H, W) uint8 grey pixels if the file is plain, valid and within `max_pixels`.

    Return None for any other file. The pixels are those of `to_grey`.
    """
    plain = inflate_plain_png(data, max_pixels)
    if plain is None:
        return None
    pixels = _decode(plain.head, plain.rows)
    if pixels is None or pixels.ndim == 2:
        return pixels
    has_alpha = pixels.shape[2] == 4
    colours = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if has_alpha else cv2.COLOR_BGR2RGB)
    return to_tones(flatten(colours.astype(np.uint8, copy=False)))


def inflate_plain_png(data: bytes, max_pixels: int) -> PlainPng | None:
    """Return the file inflated if it is plain, valid and within `max_pixels`, else None."""
    if not (len(data) >= HEADER.size and data.endswith(END)):
        return None
    begin, width, height, form, checksum = HEADER.unpack_from(data)
    pixel_bytes = PIXEL_BYTES.get(form)
    if begin != BEGIN or pixel_bytes is None or crc32(data[12:29]) != checksum:
        return None
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= max_pixels):
        return None
    content = _read_chunks(data, PALETTE_LAYOUT if form == PALETTE else LAYOUT)
    if content is None:
        return None
    rows = _inflate(content[b"IDAT"], height, 1 + width * pixel_bytes)
    palette = _palette(content) if form == PALETTE else b""
    if rows is None or palette is None:
        return None
    return PlainPng(width, height, form, data[: HEADER.size] + palette, rows)


def decode_together(files: Sequence[PlainPng]) -> NDArray[np.uint8] | None:
    """Return (B, H, W) uint8 pixels of at least one file, all of them grey and of one size.

    libpng reads them as one tall picture, in a third of the time. A black row stands before each
    file, since a filter takes zeros for the row before the first one (PNG specification, 9.2).
    """
    width, height, form, *_ = files[0]
    gap = bytes(1 + width)
    rows = b"".join([gap + file.rows for file in files])
    size = width.to_bytes(4) + (len(files) * (1 + height)).to_bytes(4)
    tall = _decode(SIGNATURE + _chunk(b"IHDR", size + form), rows)
    return None if tall is None else tall.reshape(-1, 1 + height, width)[:, 1:]


def to_data_url(pixels: NDArray[np.uint8]) -> str:
    """Return (H, W) uint8 pixels as a PNG data URL."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _read_chunks(data: bytes, layout: re.Pattern[bytes]) -> dict[bytes, bytes] | None:
    """Return the content by kind of the chunks between the header and the end of a file.

    Return None if a chunk is not valid, if there are too many, or if the layout is another.
    """
    kinds, content = b"", {b"IDAT": b""}
    start, size = HEADER.size, len(data) - len(END)
    while start + CHUNK.size <= size:
        length, kind = CHUNK.unpack_from(data, start)
        end = start + CHUNK.size + length
        checksum = int.from_bytes(data[end : end + CHECKSUM_BYTES])
        if crc32(data[start + 4 : end]) != checksum or len(kinds) == MAX_CHUNKS * len(kind):
            return None
        kinds += kind
        content[kind] = content.get(kind, b"") + data[start + CHUNK.size : end]
        start = end + CHECKSUM_BYTES
    return content if start == size and layout.fullmatch(kinds) else None


def _inflate(packed: bytes, height: int, row_bytes: int) -> bytes | None:
    """Return the filtered rows if the compressed data is valid and holds nothing else."""
    inflater = decompressobj()
    try:
        rows = inflater.decompress(packed, height * row_bytes + 1)
    except zlib.error:
        return None
    if len(rows) != height * row_bytes or not inflater.eof or inflater.unused_data:
        return None
    return None if rows[::row_bytes].translate(None, FILTERS) else rows


def _palette(content: dict[bytes, bytes]) -> bytes | None:
    """Return the chunks of a palette and of its transparency, or None if they do not fit."""
    colours, alpha = content[b"PLTE"], content.get(b"tRNS")
    entries, rest = divmod(len(colours), ENTRY_BYTES)
    if rest or not 1 <= entries <= 256 or not (alpha is None or 1 <= len(alpha) <= entries):
        return None
    return _chunk(b"PLTE", colours) + (b"" if alpha is None else _chunk(b"tRNS", alpha))


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return len(content).to_bytes(4) + body + crc32(body).to_bytes(CHECKSUM_BYTES)


def _stored(rows: bytes) -> bytes:
    """Return rows as a zlib stream without compression."""
    blocks, last = b"", max(0, len(rows) - 1) // MAX_BLOCK * MAX_BLOCK
    for start in range(0, last + 1, MAX_BLOCK):
        block = rows[start : start + MAX_BLOCK]
        blocks += STORED_BLOCK.pack(start == last, len(block), len(block) ^ MAX_BLOCK) + block
    return STREAM_HEAD + blocks + adler32(rows).to_bytes(CHECKSUM_BYTES)


def _decode(head: bytes, rows: bytes) -> NDArray[np.uint8] | None:
    """Return the pixels of a PNG with these chunks before its pixels, and these filtered rows."""
    data = head + _chunk(b"IDAT", _stored(rows)) + END
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return None if pixels is None else pixels.astype(np.uint8, copy=False)
