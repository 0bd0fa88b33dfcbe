"""The size of a TIFF's tiles, and whether Pillow and libtiff read its header alike.

What enters: an upload that Pillow has opened as TIFF. What leaves: the size of a tile, or a
refusal. This module does not know how pixels are decoded.

Two parsers read the file: Pillow the header, by which an upload is held to its limits, and libtiff
the pixels. Pillow passes over an entry whose type it does not know (SLONG8, IFD8), and over the
second one of a tag. libtiff may read them, and allocates a tile that no limit has held. So what
libtiff decodes by must be there once, and Pillow must show it.
"""

from collections.abc import Iterator
from struct import Struct, calcsize, unpack_from
from typing import Final

from PIL.TiffImagePlugin import TiffImageFile

from app.errors import ImageTooLarge, NotAnImage

TILE_WIDTH: Final = 322
TILE_LENGTH: Final = 323
TILE_TAGS: Final = {TILE_WIDTH, TILE_LENGTH, 324, 325}  # with the offsets and byte counts of tiles
STRIP_TAGS: Final = {273, 279}  # offsets and byte counts of strips
# Image width and length, bits, compression, colours, samples, rows of a strip, planes, predictor,
# format of samples: numbers that are SHORT or LONG (TIFF 6.0, section 8, and libtiff's writer).
NUMBER_TAGS: Final = {256, 257, 258, 259, 262, 277, 278, 284, 317, 339, TILE_WIDTH, TILE_LENGTH}
SHORT_OR_LONG: Final = (3, 4)
# Beside them: order of bits, options of fax, colour map, inks, extra samples, JPEG's tables and
# those of its older form, subsampling, type and depth of the data, LERC's parameters.
DECODING_TAGS: Final = NUMBER_TAGS | TILE_TAGS | STRIP_TAGS | {
    *(266, 292, 293, 320, 332, 334, 338, 347), *range(512, 522), 530, 531, *range(32995, 32999),
    50674,
}  # fmt: skip
TILE_STEP: Final = 16  # sides of tiles are multiples of it (TIFF 6.0, section 15)
# Writers have one size of tile, however small the image: libvips 128, others 256, GDAL up to 512.
# So large a one is at most 2 MiB, in four samples of 16 bits.
USUAL_TILE_SIDE: Final = 512


def check_header(image: TiffImageFile, data: bytes) -> None:
    """Raises NotAnImage where Pillow and libtiff may read different headers, ImageTooLarge where
    a tile is larger than its image, rounded up, and than what writers use.
    """
    tags: set[int] = set()
    for tag, kind in _entries(image, data):
        if tag not in DECODING_TAGS:
            continue
        is_odd = tag in NUMBER_TAGS and kind not in SHORT_OR_LONG
        if is_odd or tag in tags or tag not in image.tag_v2:
            raise NotAnImage(
                f"The TIFF's tag {tag}, here of type {kind}, is damaged or there twice: "
                "send each tag once, and sizes as SHORT or LONG"
            )
        tags.add(tag)
    if not tags & TILE_TAGS:
        return
    tile, sides = tile_size(image), (image.tag_v2[256], image.tag_v2[257])
    if max(tile) > USUAL_TILE_SIDE and any(
        side > _round_up(image_side) for side, image_side in zip(tile, sides, strict=True)
    ):
        raise ImageTooLarge(
            f"The TIFF has tiles of {tile[0]} x {tile[1]} pixels for an image of {sides[0]} x "
            f"{sides[1]}: send tiles that are no larger than it, or a PNG"
        )
    if not tags >= TILE_TAGS or tags & STRIP_TAGS:
        raise NotAnImage("The TIFF has tiles without all of their tags, or strips, too: send a PNG")


def tile_size(image: TiffImageFile) -> tuple[int, int]:
    """Return the (width, height) of a tile, which is allocated whole; (0, 0) if there are none."""
    return int(image.tag_v2.get(TILE_WIDTH, 0)), int(image.tag_v2.get(TILE_LENGTH, 0))


def _round_up(side: int) -> int:
    return -(-side // TILE_STEP) * TILE_STEP


def _entries(image: TiffImageFile, data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the (tag, type) of each entry in the directory of the image."""
    order = "<" if image.tag_v2.prefix == b"II" else ">"
    count, form = ("Q", "HHQQ") if data[2] == 43 else ("H", "HHII")
    start, entry = image.tag_v2.offset, Struct(order + form)
    (number,) = unpack_from(order + count, data, start)
    start += calcsize(order + count)
    for tag, kind, *_ in entry.iter_unpack(data[start : start + number * entry.size]):
        yield tag, kind
