"""An AVIF is as large as its frames are, whatever its container says."""

import struct
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.errors import ImageTooLarge, NotAnImage, ServiceError
from app.image.decode import open_image, to_grey
from app.predict.preprocess import preprocess, preprocess_if_small
from tests.conftest import png
from tests.image.test_bombs import DIGIT, MAX_PIXELS, patch

SIDE = 64
TONES = np.arange(SIDE * SIDE, dtype=np.uint32).reshape(SIDE, SIDE).astype(np.uint8)
CELL = png(TONES, "AVIF")
FRAME = CELL[CELL.index(b"mdat") + 4 :]
CONFIGURATION = CELL[CELL.index(b"av1C") - 4 :][:12]


def box(kind, *parts):
    return struct.pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)


def full(kind, version, flags, *parts):
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def numbers(form, *values):
    return struct.pack(f">{form}", *values)


def ispe(width, height):
    return full(b"ispe", 0, 0, numbers("II", width, height))


def iinf(*kinds, version=2):
    rows = enumerate(kinds, 1)
    form = "HH4sB" if version == 2 else "IH4sB"
    infes = [full(b"infe", version, 0, numbers(form, item, 0, kind, 0)) for item, kind in rows]
    return full(b"iinf", 0, 0, numbers("H", len(infes)), *infes)


def iloc(*extents, version=1, method=1):
    """Place each item so far behind the beginning of `idat`."""
    rows = [
        numbers("HHHHII", item, method, 0, 1, start, size)
        for item, (start, size) in enumerate(extents, 1)
    ]
    return full(b"iloc", version, 0, b"\x44\0", numbers("H", len(rows)), *rows)


def iprp(*boxes, associations):
    """Associate the properties of these numbers with each item."""
    rows = [
        numbers("HB", item, len(indices)) + bytes(indices)
        for item, indices in enumerate(associations, 1)
    ]
    return box(b"iprp", box(b"ipco", *boxes), full(b"ipma", 0, 0, numbers("I", len(rows)), *rows))


def avif(*meta, content=FRAME, brand=b"avif", after=b""):
    hdlr = full(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13))
    pitm = full(b"pitm", 0, 0, numbers("H", 1))
    whole = full(b"meta", 0, 0, hdlr, pitm, *meta, box(b"idat", content))
    return box(b"ftyp", brand, bytes(4), b"avifmif1miaf") + whole + after


REPEATED = numbers("HHHH", 1, 1, 0, 100) + numbers("II", 0, len(FRAME)) * 100
IINF, ILOC = iinf(b"av01"), iloc((0, len(FRAME)))
IPRP = iprp(ispe(SIDE, SIDE), CONFIGURATION, associations=[(1, 2)])


def grid(rows, columns, canvas, declared_size, *, wide=False):
    """A grid of cells that are all one frame, each with a copy of its own."""
    head = bytes([0, wide, rows - 1, columns - 1]) + numbers("II" if wide else "HH", *canvas)
    cells = range(2, 2 + rows * columns)
    extents = [(0, len(head)), *((len(head) + (c - 2) * len(FRAME), len(FRAME)) for c in cells)]
    iref = numbers(f"HH{len(cells)}H", 1, len(cells), *cells)
    return avif(
        iloc(*extents),
        iinf(b"grid", *[b"av01"] * len(cells)),
        full(b"iref", 0, 0, box(b"dimg", iref)),
        iprp(
            *(ispe(SIDE, SIDE), CONFIGURATION, ispe(*declared_size)),
            associations=[(3,), *[(1, 2)] * len(cells)],
        ),
        content=head + FRAME * len(cells),
    )


def animated(mode="RGB"):
    frames = [Image.fromarray(np.roll(DIGIT, offset, 1)).convert(mode) for offset in range(5)]
    buffer = BytesIO()
    frames[0].save(buffer, "AVIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def saved(mode, size, **options):
    buffer = BytesIO()
    Image.fromarray(np.resize(DIGIT, size)).convert(mode).save(buffer, "AVIF", **options)
    return buffer.getvalue()


EXIF = Image.Exif()
EXIF[0x010E] = "a digit"
VALID_IMAGES = {
    "one_pixel": saved("L", (1, 1)),
    "grey": saved("L", (28, 28)),
    "colour": saved("RGB", (217, 333), subsampling="4:4:4", quality=100),
    "opacity": saved("RGBA", (64, 100), quality=0, speed=10),
    "palette": saved("P", (28, 28)),
    "tiles": saved("RGB", (600, 500), autotiling=False, tile_rows=1, tile_cols=1),
    "texts": saved("RGBA", (28, 28), exif=EXIF, xmp=b"<x:xmpmeta/>"),
    "animated": animated(),
    "animated_opacity": animated("RGBA"),
    "by_hand": avif(IINF, ILOC, IPRP),
    "numbers_of_32_bits": avif(iinf(b"av01", version=3), ILOC, IPRP),
    "unknown_items": avif(iinf(b"av01", b"what"), ILOC, IPRP),
    "to_the_end": avif(IINF, ILOC, IPRP, after=numbers("I4s", 0, b"mdat") + bytes(9)),
    "long_box": avif(IINF, ILOC, IPRP, after=numbers("I4sQ", 1, b"mdat", 20) + bytes(4)),
    "grid": grid(2, 2, (100, 126), (100, 126)),
    "wide_grid": grid(2, 2, (100, 126), (100, 126), wide=True),
}
INVALID_IMAGES = {
    "frame_is_larger": (
        patch(CELL, b"ispe", 8, ">II", 28, 28),
        "declares another size than the 64",
    ),
    "frame_is_smaller": (
        patch(CELL, b"ispe", 8, ">II", 99, 99),
        "declares another size than the 64",
    ),
    "no_size": (
        avif(IINF, ILOC, iprp(CONFIGURATION, associations=[(1,)])),
        "declares another size",
    ),
    "two_sizes": (
        avif(IINF, ILOC, iprp(ispe(64, 64), CONFIGURATION, ispe(9, 9), associations=[(1, 2, 3)])),
        "declares another size",
    ),
    "canvas_is_larger": (grid(2, 2, (128, 128), (28, 28)), "declares another size than the 128"),
    "no_meta": (box(b"ftyp", b"avif", bytes(4)), "0 boxes of type meta"),
    "two_metas": (avif(IINF, ILOC, IPRP, after=full(b"meta", 0, 0)), "2 boxes of type meta"),
    "two_lists": (avif(IINF, IINF, ILOC, IPRP), "2 boxes of type iinf"),
    "two_places": (avif(IINF, ILOC, ILOC, IPRP), "2 boxes of type iloc"),
    "two_idats": (avif(IINF, ILOC, IPRP, box(b"idat", b"")), "unknown location"),
    "nothing": (avif(iinf(b"what"), ILOC, IPRP), "no AV1"),
    "another_format": (box(b"ftyp", b"heic", bytes(4)), "0 boxes of type meta"),
    "one_number": (
        avif(full(b"iinf", 0, 0, bytes(2), IINF[14:] * 2), ILOC, IPRP),
        "the same number",
    ),
    "old_list": (avif(iinf(b"av01", version=1), ILOC, IPRP), "not for images"),
    "placed_twice": (
        avif(IINF, full(b"iloc", 1, 0, b"\x44\0\0\2", ILOC[16:] * 2), IPRP),
        "two locations",
    ),
    "placed_nowhere": (avif(IINF, iloc(), IPRP), "0 frames"),
    "placed_in_an_item": (avif(IINF, iloc((0, 99), method=2), IPRP), "unknown location"),
    "placed_otherwise": (avif(IINF, iloc((0, 99), version=3), IPRP), "unknown version"),
    "placed_outside": (avif(IINF, iloc((10**6, len(FRAME))), IPRP), "truncated"),
    "placed_over_each_other": (
        avif(iinf(*[b"av01"] * 20), iloc(*[(0, len(FRAME))] * 20), IPRP),
        "truncated",
    ),
    "placed_a_hundred_times": (
        avif(IINF, full(b"iloc", 1, 0, b"\x44\0\0\1", REPEATED), IPRP),
        "truncated",
    ),
    "unknown_property": (avif(IINF, ILOC, iprp(ispe(9, 9), associations=[(2,)])), "does not exist"),
    "cut_off": (CELL[:-1], "truncated"),
    "cut_off_in_an_item": (avif(IINF, iloc((1, len(FRAME))), IPRP), "truncated"),
    "box_in_a_head": (avif(IINF, ILOC, IPRP, after=numbers("II4s", 4, 8, b"free")), "truncated"),
    "boxes": (box(b"ftyp", b"avif", bytes(4)) + box(b"free") * 1_250_000, "more than 1000 boxes"),
    "boxes_within": (avif(*[box(b"free")] * 1_250_000), "more than 1000 boxes"),
    "items": (avif(IINF, full(b"iloc", 2, 0, b"\0\0", b"\0\0\xff\xff"), IPRP), "items"),
    "extents": (avif(IINF, full(b"iloc", 0, 0, b"\0\0\0\1\0\1\0\0\xff\xff"), IPRP), "parts of"),
    "associations": (
        avif(IINF, ILOC, box(b"iprp", box(b"ipco"), full(b"ipma", 0, 0, b"\0\x98\0\0"))),
        "items",
    ),
    "parts": (
        avif(IINF, iloc((0, 10**7)), IPRP, content=b"\x12\0" * (5 * 10**6)),
        "more than 100 OBUs",
    ),
}


@pytest.mark.parametrize("upload", VALID_IMAGES.values(), ids=VALID_IMAGES)
def test_honest_ones_are_read(upload):
    image = open_image(upload, MAX_PIXELS)
    assert (image.format, to_grey(image).size) == ("AVIF", image.size)


@pytest.mark.parametrize(("upload", "message"), INVALID_IMAGES.values(), ids=INVALID_IMAGES)
def test_what_cannot_be_vouched_for_is_refused(upload, message):
    with pytest.raises(NotAnImage, match=message):
        open_image(upload, MAX_PIXELS)


@pytest.mark.parametrize("read_image", [preprocess, preprocess_if_small, open_image])
def test_a_frame_over_the_limit_is_refused_whatever_its_container_says(read_image):
    lying = patch(saved("L", (100, 100)), b"ispe", 8, ">II", 28, 28)
    with pytest.raises(ImageTooLarge, match="100 x 100 = 10,000 pixels, and the limit is 9,999"):
        read_image(lying, 9_999)


def test_a_grid_is_held_to_its_canvas_and_to_all_of_its_cells():
    with pytest.raises(ImageTooLarge, match="128 x 128"):
        open_image(grid(2, 2, (128, 128), (28, 28)), 128 * 128 - 1)
    with pytest.raises(ImageTooLarge, match="consists of 7 frames with"):
        open_image(grid(2, 3, (SIDE, SIDE), (SIDE, SIDE)), 2 * SIDE * SIDE)
    assert open_image(grid(2, 3, (SIDE, SIDE), (SIDE, SIDE)), 3 * SIDE * SIDE)


@pytest.mark.parametrize("read_image", [preprocess, preprocess_if_small, open_image])
def test_a_small_image_has_no_large_one_beside_it(read_image):
    """What is decoded for an alpha of another size would be thrown away only afterwards."""
    large = saved("L", (400, 400))
    large_frame = large[large.index(b"mdat") + 4 :]
    lying = avif(
        iinf(b"av01", b"av01"),
        iloc((0, len(FRAME)), (len(FRAME), len(large_frame))),
        iprp(ispe(SIDE, SIDE), CONFIGURATION, ispe(400, 400), associations=[(1, 2), (3, 2)]),
        content=FRAME + large_frame,
    )
    with pytest.raises(NotAnImage, match="far more pixels"):
        read_image(lying, MAX_PIXELS)


def test_of_an_animation_the_still_is_read_that_was_measured():
    image = open_image(animated(), MAX_PIXELS)
    assert getattr(image, "n_frames", 1) == 1
    assert np.abs(to_grey(image).pixels.astype(int) - DIGIT).mean() < 10


def test_damage_is_read_or_refused():
    random = np.random.default_rng(7)
    whole = saved("RGBA", (28, 28), exif=EXIF)
    outcomes = Counter()
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= int(random.integers(1, 256))
        try:
            preprocess(bytes(broken), 10**6)
            outcomes["read"] += 1
        except ServiceError:
            outcomes["refused"] += 1
    assert set(outcomes) == {"read", "refused"}
