"""The quick way answers as the long way does, or not at all."""

import random
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.errors import ServiceError
from app.image.decode import open_image, to_grey
from app.image.png import (
    CHUNK,
    HEADER,
    decode_together,
    inflate_plain_png,
    read_plain_png,
)
from tests.conftest import png

MAX_PIXELS = 128 * 128


def decode_fully(data):
    try:
        return to_grey(open_image(data, MAX_PIXELS)).pixels
    except ServiceError:
        return None


def test_mnists_images_take_the_quick_way_and_come_out_the_same(mnist):
    for pixels in mnist.test.pixels[:200].numpy():
        assert np.array_equal(read_plain_png(png(pixels), MAX_PIXELS), pixels)


def test_any_shape_up_to_the_limit(mnist):
    wide = np.tile(mnist.test.pixels[0].numpy(), (1, 4))
    assert np.array_equal(read_plain_png(png(wide), wide.size), wide)
    assert read_plain_png(png(wide), wide.size - 1) is None


def test_long_sides_are_left_to_others():
    assert read_plain_png(png(np.zeros((1, 2000), np.uint8)), MAX_PIXELS) is None


def chunk(kind, content):
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def build(rows, width, height, kind=0, extra=b"", after=b"", depth=8, interlaced=0):
    """Return a PNG with these filtered rows; a list of packed parts is taken as it is."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    packed = rows if isinstance(rows, list) else [zlib.compress(rows)]
    parts = [chunk(b"IHDR", header), extra, *(chunk(b"IDAT", part) for part in packed), after]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


ROWS = (b"\0" + bytes(range(28))) * 28


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_all_colours_come_out_as_the_long_way_reads_them(mode):
    rng = np.random.default_rng(7)
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "P": 1}[mode]
    sizes = [(28, 28), (128, 128), (1, 1), (128, 3), *rng.integers(1, 129, (60, 2)).tolist()]
    for number, (height, width) in enumerate(sizes):
        pixels = np.full((height, width, channels), rng.integers(0, 256, channels), np.uint8)
        if number % 3 == 0:
            pixels = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
        elif number % 3 == 1:
            y, x = np.ogrid[:height, :width]
            inside = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 3) ** 2
            pixels[inside] = rng.integers(0, 256, channels)
        data = encode(pixels, mode, rng, transparent=number % 2 == 1)
        assert np.array_equal(read_plain_png(data, MAX_PIXELS), decode_fully(data))


def encode(pixels, mode, rng, *, transparent):
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    options = {}
    if mode == "P":
        image = image.convert("P")
        image.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
        if transparent:
            length = rng.integers(1, 257)
            options = {"transparency": rng.integers(0, 256, length, dtype=np.uint8).tobytes()}
    file = BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def test_short_palettes_and_chunks_that_change_no_pixel():
    rows = b"".join(b"\0" + bytes((n % 7,) * 28) for n in range(28))
    palette = chunk(b"PLTE", bytes(range(9)))
    for alpha in (b"", chunk(b"tRNS", b"\x80\0"), chunk(b"tRNS", b"\xff\0\xff")):
        data = build(rows, 28, 28, 3, chunk(b"sRGB", b"\0") + palette + alpha)
        assert np.array_equal(read_plain_png(data, MAX_PIXELS), decode_fully(data))
    data = build([zlib.compress(ROWS)[:9], zlib.compress(ROWS)[9:]], 28, 28)
    assert np.array_equal(read_plain_png(data, MAX_PIXELS), decode_fully(data))


BOMB = zlib.compress(b"\0" * 15_000_000, 9)
LEFT_TO_OTHERS = {
    "more rows": build(ROWS * 2, 28, 28),
    "too few rows": build(ROWS[:400], 28, 28),
    "a bomb": build([BOMB], 28, 28),
    "data after the stream": build([zlib.compress(ROWS) + b"more"], 28, 28),
    "a wrong sum of the stream": build([zlib.compress(ROWS)[:-1] + b"?"], 28, 28),
    "an unknown filter": build(b"\5" + ROWS[1:], 28, 28),
    "interlacing": build(ROWS, 28, 28, interlaced=1),
    "deep pixels": build(ROWS, 28, 28, depth=16),
    "no pixels": build(b"", 0, 28),
    "frames": build(ROWS, 28, 28, extra=chunk(b"acTL", struct.pack(">II", 2, 0))),
    "compressed text": build(ROWS, 28, 28, extra=chunk(b"zTXt", b"a\0\0" + BOMB)),
    "an orientation": build(ROWS, 28, 28, extra=chunk(b"eXIf", b"MM\0*")),
    "a profile": build(ROWS, 28, 28, extra=chunk(b"iCCP", b"a\0\0" + BOMB)),
    "a transparent grey": build(ROWS, 28, 28, extra=chunk(b"tRNS", b"\0\0")),
    "no palette": build(ROWS, 28, 28, 3),
    "a palette of too few bytes": build(ROWS, 28, 28, 3, chunk(b"PLTE", b"1234")),
    "more alpha than palette": build(
        ROWS, 28, 28, 3, chunk(b"PLTE", b"123") + chunk(b"tRNS", b"12")
    ),
    "pixels in two places": build(
        [zlib.compress(ROWS)], 28, 28, after=chunk(b"tIME", b"") + chunk(b"IDAT", b"")
    ),
    "many chunks": build(ROWS, 28, 28, extra=chunk(b"pHYs", b"") * 40),
}


@pytest.mark.parametrize("data", LEFT_TO_OTHERS.values(), ids=LEFT_TO_OTHERS)
def test_what_is_not_plain_is_left_to_others(data, capfd):
    assert read_plain_png(data, MAX_PIXELS) is None
    assert capfd.readouterr() == ("", ""), "libpng did not read it"


def test_what_is_cut_off_is_left_to_others(seven):
    assert all(read_plain_png(seven[:end], MAX_PIXELS) is None for end in range(len(seven)))
    assert read_plain_png(seven + b"more", MAX_PIXELS) is None


def test_files_that_are_decoded_together_come_out_as_each_alone(mnist):
    """Whatever filters their rows have: the first row of each refers to no row before it."""
    rng = np.random.default_rng(3)
    filtered = []
    for first in range(5):
        rows = rng.integers(0, 256, (28, 29), np.uint8)
        rows[:, 0] = rng.integers(0, 5, 28)
        rows[0, 0] = first
        filtered.append(build(rows.tobytes(), 28, 28))
    files = [*filtered, *filtered[::-1], *map(png, mnist.test.pixels[:70].numpy())]
    for count in (1, 2, len(files)):
        together = decode_together([inflate_plain_png(data, MAX_PIXELS) for data in files[:count]])
        assert together.shape == (count, 28, 28)
        for pixels, data in zip(together, files, strict=False):
            assert np.array_equal(pixels, read_plain_png(data, MAX_PIXELS))
            assert np.array_equal(pixels, decode_fully(data))


def damage(data, rng):
    """Change some bytes, and in every second file mend the sums, so that the decoder meets it."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    if rng.random() < 0.5:
        end = len(changed) - 16
        changed[29:33] = zlib.crc32(changed[12:29]).to_bytes(4)
        start = HEADER.size + CHUNK.size
        changed[HEADER.size : start] = CHUNK.pack(end - start, b"IDAT")
        changed[end:] = zlib.crc32(changed[37:end]).to_bytes(4) + data[-12:]
    return bytes(changed)


def test_damaged_files_come_out_as_the_long_way_reads_them_or_not_at_all(mnist, capfd):
    rng, fast_count = random.Random(1), 0
    for number in range(1500):
        data = damage(png(mnist.test.pixels[number % 50].numpy()), rng)
        pixels = read_plain_png(data, MAX_PIXELS)
        if pixels is not None:
            fast_count += 1
            assert np.array_equal(pixels, decode_fully(data))
    assert fast_count > 30, "some damage does not show"
    assert capfd.readouterr() == ("", "")
