"""TIFF tiles, which are allocated and decoded as a whole, however small the image in them.

This is for the limits and for a clear message. A header that libtiff reads otherwise than Pillow
meets the memory limit of its decoder process.
"""

from typing import Final

from PIL.TiffImagePlugin import TiffImageFile

from app.errors import ImageTooLarge

WIDTH: Final = 256
LENGTH: Final = 257
TILE_WIDTH: Final = 322
TILE_LENGTH: Final = 323
TILE_STEP: Final = 16  # the sides of a tile are multiples of it (TIFF 6.0, section 15)
# Writers use one tile size, however small the image: libvips 128, others 256, GDAL up to 512. A
# tile of this size takes at most 2 MiB, with four samples of 16 bits.
USUAL_TILE_SIDE: Final = 512


def check_tiles(image: TiffImageFile) -> None:
    """Raise ImageTooLarge if a tile is larger than its image and larger than writers use."""
    tile, sides = tile_size(image), (image.tag_v2[WIDTH], image.tag_v2[LENGTH])
    if max(tile) > USUAL_TILE_SIDE and any(
        side > _round_up(image_side) for side, image_side in zip(tile, sides, strict=True)
    ):
        raise ImageTooLarge(
            f"The TIFF has tiles of {tile[0]} x {tile[1]} pixels for an image of {sides[0]} x "
            f"{sides[1]}. Send tiles no larger than the image, or a PNG."
        )


def tile_size(image: TiffImageFile) -> tuple[int, int]:
    """Return the (width, height) of a tile; (0, 0) without tiles."""
    return int(image.tag_v2.get(TILE_WIDTH, 0)), int(image.tag_v2.get(TILE_LENGTH, 0))


def _round_up(side: int) -> int:
    return -(-side // TILE_STEP) * TILE_STEP
