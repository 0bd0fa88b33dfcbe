"""TIFF tile sizes, and a check that Pillow and libtiff read the same header.

Two parsers read the file: Pillow reads the header, to which the limits apply, and libtiff the
pixels. Pillow ignores an entry of a type that it does not know (SLONG8, IFD8), and the second entry
of a tag. libtiff may read them, and would allocate a tile that no limit was applied to. So each tag
that libtiff decodes by must occur once, and Pillow must report it.
"""

from collections.abc import Iterator
from struct import Struct, calcsize, unpack_from
from typing import Final

from PIL.TiffImagePlugin import TiffImageFile

from app.errors import ImageTooLarge, NotAnImage

TILE_WIDTH: Final = 322
TILE_LENGTH: Final = 323
TILE_TAGS: Final = {TILE_WIDTH, TILE_LENGTH, 324, 325}  # with offsets and byte counts of tiles
STRIP_TAGS: Final = {273, 279}  # offsets and byte counts of strips
# Image width and length, bits, compression, colours, samples, rows of a strip, planes, predictor,
# sample format: values that are SHORT or LONG (TIFF 6.0, section 8, and libtiff's writer).
NUMBER_TAGS: Final = {256, 257, 258, 259, 262, 277, 278, 284, 317, 339, TILE_WIDTH, TILE_LENGTH}
SHORT_OR_LONG: Final = (3, 4)
# In addition: bit order, fax options, colour map, inks, extra samples, JPEG tables and those of
# its older form, subsampling, type and depth of the data, LERC parameters.
DECODING_TAGS: Final = NUMBER_TAGS | TILE_TAGS | STRIP_TAGS | {
    *(266, 292, 293, 320, 332, 334, 338, 347), *range(512, 522), 530, 531, *range(32995, 32999),
    50674,
}  # fmt: skip
TILE_STEP: Final = 16  # the sides of a tile are multiples of it (TIFF 6.0, section 15)
# Writers use one tile size, however small the image: libvips 128, others 256, GDAL up to 512. A
# tile of this size takes at most 2 MiB, with four samples of 16 bits.
USUAL_TILE_SIDE: Final = 512


def check_header(image: TiffImageFile, data: bytes) -> None:
    """Check that the tags of a TIFF are unambiguous and its tiles not oversized.

    Raises NotAnImage if Pillow and libtiff may read different headers, ImageTooLarge if a tile is
    larger than its image, rounded up, and larger than writers use.
    """
    tags: set[int] = set()
    for tag, kind in _entries(image, data):
        if tag not in DECODING_TAGS:
            continue
        is_odd = tag in NUMBER_TAGS and kind not in SHORT_OR_LONG
        if is_odd or tag in tags or tag not in image.tag_v2:
            raise NotAnImage(
                f"The TIFF tag {tag} of type {kind} is damaged or occurs twice. "
                "Send each tag once, and sizes as SHORT or LONG."
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
            f"{sides[1]}. Send tiles no larger than the image, or a PNG."
        )
    if not tags >= TILE_TAGS or tags & STRIP_TAGS:
        raise NotAnImage(
            "The TIFF has incomplete tile tags, or both tiles and strips. Send a PNG instead."
        )


def tile_size(image: TiffImageFile) -> tuple[int, int]:
    """Return the (width, height) of a tile, which is allocated as a whole; (0, 0) without tiles."""
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
