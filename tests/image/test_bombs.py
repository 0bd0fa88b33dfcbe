"""Small files that are the work of minutes or the memory of gigabytes, to a decoder."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.errors import ImageTooLarge, NotAnImage, ServiceError
from app.image.decode import open_image, to_grey
from app.predict.local import preprocess
from tests.conftest import png

MAX_PIXELS = 50_000_000
DIGIT = np.zeros((28, 28), np.uint8)
DIGIT[5:22, 18] = 255


def chunk(kind, content):
    sum_ = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + sum_


def packed(size):
    """So many mebibytes of zeros, packed a thousandfold: one block again and again."""
    packer = zlib.compressobj(9)
    first, other = (
        packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    blocks = size >> 20
    end_and_checksum = b"\3\0" + struct.pack(">HH", (blocks << 20) % 65521, 1)  # Adler-32
    return first + other * (blocks - 1) + end_and_checksum


def test_packed_unpacks_to_zeros():
    assert zlib.decompress(packed(3 * 2**20)) == bytes(3 * 2**20)
    assert len(packed(2**28)) < 2**18 + 2**16


def raw_png(width, height, *extra_chunks, content=b""):
    form = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", content), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", form) + b"".join((*extra_chunks, *pixels))


def tiff(width, height, *, rows=None, offset=200, count=100, strips=1, more=()):
    """An image of one strip, or of `strips` that lie at one place."""
    rows = height if rows is None else rows
    tags = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1)}
    tags |= {262: (3, 1, 1), 277: (3, 1, 1), 278: (4, 1, rows)}
    tags |= {273: (4, strips, offset), 279: (4, strips, count)} | dict(more)
    entries = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def strips(number):
    lists_offset = len(tiff(1, 1))
    lists = b"".join(np.full(number, value, "<u4").tobytes() for value in (200, 28))
    return (
        tiff(
            28, number, rows=1, strips=number, offset=lists_offset, count=lists_offset + 4 * number
        )
        + lists
    )


def patch(data, marker, shift, form, *values):
    """Replace a number in a header."""
    start = data.index(marker) + shift
    new = struct.pack(form, *values)
    return data[:start] + new + data[start + len(new) :]


def jpeg(width, height):
    return patch(png(DIGIT, "JPEG"), b"\xff\xc0", 5, ">HH", height, width)


BITMAP = b"BM" + struct.pack("<IHHI", 100, 0, 0, 54)
GIF = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0xF0, 0, 0) + bytes(6) + b","
TOO_LARGE = {
    "png": raw_png(65535, 65535, content=packed(2**20)),
    "png_of_exapixels": raw_png(2**31 - 1, 2**31 - 1),
    "jpeg": jpeg(65535, 65535),
    "tiff_of_one_strip": tiff(65535, 65535),
    "tiff_with_a_tile": tiff(28, 28, more={322: (4, 1, 65535), 323: (4, 1, 65535)}.items()),
    "gif_whose_frame_is_larger": GIF + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\2\0;",
    "bmp": BITMAP + struct.pack("<IiiHHIIiiII", 40, 65535, 65535, 1, 24, 0, 0, 0, 0, 0, 0),
    "bmp_upside_down": BITMAP
    + struct.pack("<IiiHHIIiiII", 40, 28, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0),
    "qoi": b"qoif" + struct.pack(">IIBB", 2**32 - 1, 2**32 - 1, 4, 0),
    "sgi": struct.pack(">hbbhHHH", 474, 1, 1, 3, 65535, 65535, 4) + bytes(500),
}
FALSE_HEADERS = {
    "png_profile": raw_png(28, 28, chunk(b"iCCP", b"a\0\0" + packed(2**28))),
    "png_text": raw_png(28, 28, chunk(b"zTXt", b"a\0\0" + packed(2**28))),
    "png_words": raw_png(28, 28, chunk(b"iTXt", b"a\0\1\0\0\0" + packed(2**28))),
    "png_length": b"\x89PNG\r\n\x1a\n\x7f\xff\xff\xffIDAT",
    "tiff_rows": tiff(28, 28, rows=2**32 - 1, count=2**32 - 1),
    "tiff_offset": tiff(28, 28, offset=2**32 - 1),
    "tiff_text": tiff(28, 28, more={270: (2, 2**32 - 1, 8)}.items()),
    "big_tiff": b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2**63) + bytes(100),
    "ppm_number": b"P5 " + b"9" * 10_000 + b" 1 255\n",
    "xbm_number": b"#define im_width " + b"9" * 5000 + b"\n#define im_height 28\n",
}


@pytest.mark.parametrize("upload", TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_says_that_it_is_too_large_is_not_decoded(upload):
    with pytest.raises(ImageTooLarge):
        open_image(upload, MAX_PIXELS)


@pytest.mark.parametrize("upload", FALSE_HEADERS.values(), ids=FALSE_HEADERS)
def test_a_header_that_lies_is_refused(upload):
    with pytest.raises(NotAnImage):
        preprocess(upload, MAX_PIXELS)


@pytest.mark.parametrize("shape", [(1, 65535), (65535, 1), (1, MAX_PIXELS), (7000, 7000)])
def test_thin_and_large_ones_are_read_or_refused(shape):
    height, width = shape
    with pytest.raises(ServiceError):
        preprocess(raw_png(width, height, content=packed(height * (width + 1) + 2**20)), MAX_PIXELS)


def scans(number):
    """A progressive JPEG whose last scan comes again and again."""
    buffer = BytesIO()
    Image.fromarray(DIGIT).save(buffer, "JPEG", progressive=True)
    large = patch(buffer.getvalue(), b"\xff\xc2", 5, ">HH", 3000, 3000)
    last = large.rindex(b"\xff\xda")
    return large[:last] + large[last:-2] * number


SLOW_IMAGES = {
    "strips": strips(200_000),
    "scans": scans(20_000),
    "fill_bytes": b"\xff\xd8" + b"\xff" * 10**7,
    "markers": b"\xff\xd8" + b"\xff\xe1\0\2" * 2_500_000,
    "spaces": b"P5" + b" " * 10**7,
    "pixels_one_by_one": b"qoif" + struct.pack(">IIBB", 3200, 3100, 4, 0) + b"\0\1" * 4_960_000,
    "chunks": raw_png(28, 28, *[chunk(b"IDAT", b"")] * 800_000),
}


@pytest.mark.parametrize("ink", [3e38, 1e-38, -3e38])
def test_floats_of_any_size_are_tones(ink):
    lowest = -3e38 if ink > 1 else 0.0
    deep = np.where(DIGIT > 0, np.float32(ink), np.float32(lowest))
    tones = to_grey(open_image(png(deep, "TIFF"), MAX_PIXELS)).pixels
    assert len(np.unique(tones)) == (1 if ink == 1e-38 else 2)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_many_frames_the_first_is_read(form):
    """As quickly as a lone one: no decoder looks at the others."""
    frames = [Image.fromarray(np.roll(DIGIT, offset % 20, 1)) for offset in range(1000)]
    buffer = BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
    preprocessed, single = (
        preprocess(buffer.getvalue(), MAX_PIXELS),
        preprocess(png(DIGIT), MAX_PIXELS),
    )
    assert (preprocessed.normalised.pixels == single.normalised.pixels).mean() > 0.9


@pytest.mark.parametrize("side", [28, 7000, 65535])
def test_an_avif_that_lies_of_its_size(side):
    lying = patch(png(DIGIT, "AVIF"), b"ispe", 8, ">II", side, side)
    try:
        assert preprocess(lying, MAX_PIXELS).normalised.pixels.any()
    except ServiceError:
        assert side != 28
