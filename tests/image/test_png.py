"""The quick way answers as the long way does, or not at all."""

import random
import zlib

import numpy as np
import pytest

from app.errors import ServiceError
from app.image.decode import open_image, to_grey
from app.image.png import HEAD, read_plain_png
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


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA", "LA", "I;16"])
def test_other_kinds_are_left_to_others(seven, mode):
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.open(BytesIO(seven)).convert(mode).save(file, "PNG")
    assert read_plain_png(file.getvalue(), MAX_PIXELS) is None


def test_what_is_cut_off_is_left_to_others(seven):
    assert all(read_plain_png(seven[:end], MAX_PIXELS) is None for end in range(len(seven)))
    assert read_plain_png(seven + b"more", MAX_PIXELS) is None


def damage(data, rng):
    """Change some bytes, and in every second file mend the sums, so that the decoder meets it."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    if rng.random() < 0.5:
        end = len(changed) - 16
        changed[29:33] = zlib.crc32(changed[12:29]).to_bytes(4)
        changed[HEAD.size - 8 : HEAD.size] = (end - HEAD.size).to_bytes(4) + b"IDAT"
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
    assert fast_count > 40, "some damage does not show"
    assert capfd.readouterr() == ("", "")
