"""TIFFs whose header two parsers read differently, and tiles larger than their image."""

import struct
import zlib

import numpy as np
import pytest

from app.errors import BlankImage, ImageTooLarge, NotAnImage
from app.image.decode import open_image, to_grey
from app.predict.local import preprocess
from tests.decoders.pool import decode_all

MAX_PIXELS = 50_000_000
BYTE, SHORT, LONG, SLONG, IFD, LONG8, SLONG8, IFD8 = 1, 3, 4, 9, 13, 16, 17, 18
FAX, DEFLATE = 4, 8
RANDOM = np.random.default_rng(3)


def file(entries, content, order="<", *, big=False):
    """A TIFF of one directory, whose entries (tag, type, number) are of one number each.

    Numbers that a classic entry cannot hold are where the entry says, after the directory.
    """
    mark = {"<": b"II", ">": b"MM"}[order]
    head, count, form = ("HHHQ", "Q", "HHQ") if big else ("HI", "H", "HHI")
    start = 2 + struct.calcsize(order + head)
    room = 8 if big else 4
    directory = struct.pack(order + count, len(entries))
    far = start + len(directory) + len(entries) * (room + struct.calcsize(order + form)) + room
    far_values = b""
    for tag, kind, number in entries:
        directory += struct.pack(order + form, tag, kind, 1)
        if kind == SHORT:
            directory += struct.pack(order + "H", number).ljust(room, b"\0")
        elif kind in (LONG8, SLONG8, IFD8) and not big:
            directory += struct.pack(order + "I", far + len(far_values))
            far_values += struct.pack(order + "Q", number)
        else:
            directory += struct.pack(order + ("Q" if big else "I"), number)
    directory += bytes(room) + far_values
    numbers = (43, 8, 0, start) if big else (42, start)
    return mark + struct.pack(order + head, *numbers) + directory + content


def tiled(size, tile, content, *, packing=DEFLATE, kinds=(LONG, LONG), more=(), **form):
    """One tile, which begins the image."""
    bits = 1 if packing == FAX else 8
    tags = [(256, LONG, size[0]), (257, LONG, size[1]), (258, SHORT, bits)]
    tags += [(259, SHORT, packing), (262, SHORT, 0 if packing == FAX else 1), (277, SHORT, 1)]
    tags += [(322, kinds[0], tile[0]), (323, kinds[1], tile[1])]
    tags += [(325, LONG, len(content)), *more]
    offset = len(file([*tags, (324, LONG, 0)], b"", **form))
    return file(sorted([*tags, (324, LONG, offset)]), content, **form)


def noise_tiff(size, tile, **form):
    """A TIFF of noise, and the noise."""
    pixels = RANDOM.integers(0, 256, (tile[1], tile[0]), np.uint8)
    upload = tiled(size, tile, zlib.compress(pixels.tobytes()), **form)
    return upload, pixels[: size[1], : size[0]]


HUGE = (131072, 100000)
ROWS = b"\xff" * 12500  # CCITT's group 4 packs a blank row into one bit
KIND_PAIRS = [
    (SLONG8, SLONG8),
    (LONG, SLONG8),
    (IFD8, LONG),
    (SLONG8, IFD8),
    (IFD, 99),
    (LONG8, LONG8),
]
HOSTILE = {
    **{
        f"fax_{kinds}": tiled((64, 64), HUGE, ROWS, packing=FAX, kinds=kinds)
        for kinds in KIND_PAIRS
    },
    **{
        f"big_fax_{kinds}": tiled((64, 64), HUGE, ROWS, packing=FAX, kinds=kinds, big=True)
        for kinds in KIND_PAIRS
    },
    "second_width": tiled((64, 64), (64, HUGE[1]), ROWS, packing=FAX, more=[(322, LONG, HUGE[0])]),
    "second_width_of_another_type": tiled(
        (64, 64), (64, 64), ROWS, packing=FAX, more=[(322, SLONG8, HUGE[0])]
    ),
    "negative": tiled((64, 64), (2**32 - 64, 64), b"", kinds=(SLONG, LONG)),
    "bytes": tiled((64, 64), (64, 64), b"", kinds=(BYTE, LONG)),
}


def test_tiles_that_pillow_and_libtiff_read_differently_are_refused_within_the_memory_limit(
    settings,
):
    """libtiff would allocate up to 13 GB, and Pillow does not know of it."""
    outcomes, restarts = decode_all(settings, HOSTILE.values())
    assert {type(outcome) for outcome in outcomes} <= {NotAnImage, ImageTooLarge, BlankImage}
    assert restarts["crash"] == 0


@pytest.mark.parametrize("tile", [(528, 16), (16, 528), (7056, 7056), (5008, 5008), (2**31, 16)])
@pytest.mark.parametrize("read_image", [open_image, preprocess])
def test_tile_larger_than_its_image_and_than_what_writers_use_is_refused(read_image, tile):
    with pytest.raises(ImageTooLarge, match="tiles"):
        read_image(tiled((64, 64), tile, b""), MAX_PIXELS)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("size", "tile"),
    [((28, 28), (side, side)) for side in (32, 64, 128, 240, 256, 512)]
    + [((60, 28), (64, 32)), ((601, 600), (608, 608)), ((40, 900), (48, 912))],
)
def test_honest_tiles_are_read(size, tile, order):
    upload, pixels = noise_tiff(size, tile, order=order)
    grey = to_grey(open_image(upload, MAX_PIXELS))
    assert grey.size == size
    assert np.array_equal(grey.pixels, pixels)


def test_honest_tiles_of_a_big_tiff_are_read():
    upload, pixels = noise_tiff((28, 28), (32, 32), big=True)
    assert np.array_equal(to_grey(open_image(upload, MAX_PIXELS)).pixels, pixels)


def test_tile_is_held_to_the_limit_of_pixels():
    upload, _ = noise_tiff((28, 28), (256, 256))
    assert open_image(upload, 256 * 256)
    with pytest.raises(ImageTooLarge, match="256 x 256"):
        open_image(upload, 256 * 256 - 1)
