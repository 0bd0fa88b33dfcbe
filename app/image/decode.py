"""Image decoder: bytes of any format that Pillow reads by default to a grey image."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from app.errors import ClientDisconnected, ImageTooLarge, NotAnImage, ServiceError
from app.image.avif import pictures
from app.image.gray import flatten, to_tones
from app.image.tiff import check_header, tile_size

LONG_SIDE: Final = 1024

# Deliberately excluded: EPS and WMF, for which Pillow runs another program; ICO, ICNS, BLP and
# IPTC, which hold a second image whose size the header does not show, so no limit would apply; and
# JPEG 2000, for which 200 bytes, 64 pixels wide, take a minute that nothing can interrupt.
FORMATS: Final = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"),
    *("PPM", "QOI", "DIB", "PCX", "SGI", "XBM", "TGA"),
)
FORMAT_HINT: Final = "Send a PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF image."

# Full scales of deep pixels in practice: unit floats, 8 bits, 12-bit sensors, 16 bits.
FULL_SCALES: Final = (1.0, 255.0, 4095.0, 65535.0)
MAX_DEEP_VALUE: Final = 1e30  # of a deep pixel, so that the difference of two stays finite

# A decoder gets this many bytes at a time: a few bytes can be seconds of work.
BLOCK: Final = 4096

# All pictures of an AVIF: also its alpha, a thumbnail, and cells that reach beyond their grid.
MAX_TOTAL_FACTOR: Final = 3  # times the pixel limit of one image
MAX_EXTRA_FACTOR: Final = 16  # times the image itself; a cell is at least 64 pixels wide
CELL: Final = 64

ORIENTATION: Final = 0x0112
TRANSPOSED_ORIENTATIONS: Final = (5, 6, 7, 8)

# `open_image` applies the service's own limit and raises an error, not a warning in the log.
Image.MAX_IMAGE_PIXELS = None

# Oddities of a file concern its sender, not the log. Python keeps every warning text in memory.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True, slots=True)
class Grey:
    """A grey image, and the (width, height) of the upright upload before any reduction."""

    pixels: NDArray[np.uint8]  # (H, W)
    size: tuple[int, int]


def open_image(
    data: bytes, max_pixels: int, is_cancelled: Callable[[], bool] | None = None
) -> Image.Image:
    """Open an image by its header. Raises NotAnImage, ImageTooLarge.

    If `is_cancelled` returns True when a decoder reads on, now or later, ClientDisconnected is
    raised.
    """
    if not data:
        raise NotAnImage(f"The upload is empty. {FORMAT_HINT}")
    frames = 0
    if data[4:8] == b"ftyp":
        frames, data = _check_avif(data, max_pixels)
    try:
        source = InterruptibleBytesIO(data, is_cancelled) if is_cancelled else BytesIO(data)
        image = Image.open(source, formats=FORMATS)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            check_header(image, data)
        allocated = allocated_size(image)
    except ServiceError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(
            f"The image exceeds the limit of {max_pixels:,} pixels ({error}). Send a smaller image."
        ) from error
    except Exception as error:  # decoders raise nearly anything on hostile bytes
        raise NotAnImage(f"The upload is not a readable image. {FORMAT_HINT}") from error
    _check_pixel_limit(allocated, max_pixels)
    if frames > MAX_EXTRA_FACTOR * max(CELL, image.width) * max(CELL, image.height):
        raise NotAnImage(
            f"The AVIF contains far more pixels than the image it displays. {FORMAT_HINT}"
        )
    if is_cancelled and isinstance(image, ImageFile.ImageFile):
        image.decodermaxblock = BLOCK
    return image


def allocated_size(image: Image.Image) -> tuple[int, int]:
    """Return the larger (width, height) of the image and, in a TIFF, of a tile.

    A tile is allocated and decoded as a whole, however small the image in it.
    """
    tile = tile_size(image) if isinstance(image, TiffImagePlugin.TiffImageFile) else (0, 0)
    return max(image.size, tile, key=math.prod)


def to_grey(image: Image.Image) -> Grey:
    """Return the decoded image in grey. Raises NotAnImage if it is truncated or corrupt."""
    kind = image.format or "image"
    try:
        return _decode(image)
    except ClientDisconnected:
        raise
    except Exception as error:  # decoders raise nearly anything on hostile bytes
        raise NotAnImage(f"The {kind} is truncated or corrupt ({error}). {FORMAT_HINT}") from error


def _check_pixel_limit(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image has {width} x {height} = {width * height:,} pixels, and the limit is "
            f"{max_pixels:,}. Send a smaller image."
        )


def _check_avif(data: bytes, max_pixels: int) -> tuple[int, bytes]:
    """Check the frame sizes of an AVIF. Raises NotAnImage, ImageTooLarge.

    Returns the pixels of all frames, and the file with the brand of a still image: libavif picks
    the animation or the still by the brand, and this function measured the still.
    """
    try:
        found = pictures(data)
    except ValueError as error:
        raise NotAnImage(f"The upload is not a readable AVIF: {error}. {FORMAT_HINT}") from error
    for size, declared in found:
        _check_pixel_limit(size, max_pixels)
        if declared != {size}:
            raise NotAnImage(
                f"The AVIF declares another size than the {size[0]} x {size[1]} of its frame. "
                f"{FORMAT_HINT}"
            )
    total = sum(width * height for (width, height), _ in found)
    if total > MAX_TOTAL_FACTOR * max_pixels:
        raise ImageTooLarge(
            f"The image consists of {len(found)} frames with {total:,} pixels, and the limit is "
            f"{MAX_TOTAL_FACTOR * max_pixels:,}. Send a smaller image."
        )
    return total, data[:8] + b"avif" + data[12:]


def _decode(image: Image.Image) -> Grey:
    width, height = image.size
    # JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the cost, and never below the requested
    # size. With three quarters, a 12-megapixel photo is decoded at 1/4.
    if max(width, height) > LONG_SIDE:
        ratio = 0.75 * LONG_SIDE / max(width, height)
        image.draft(None, (max(1, int(width * ratio)), max(1, int(height * ratio))))
    image.load()
    orientation = _orientation(image)
    pixels = np.asarray(_reduce(_to_standard_mode(image)))
    tones = to_tones(flatten(pixels))
    size = (height, width) if orientation in TRANSPOSED_ORIENTATIONS else (width, height)
    return Grey(np.ascontiguousarray(_upright(tones, orientation)), size)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, or 1 if the metadata is damaged: the pixels may be sound."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return 1


def _to_standard_mode(image: Image.Image) -> Image.Image:
    """Return the image in mode L, RGB or RGBA."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_scale(_reduce_deep(np.asarray(image))))
    if image.mode == "LAB":
        return image.getchannel("L")
    if image.has_transparency_data:
        return _convert(image, "RGBA")
    return _convert(image, "L" if image.mode in ("1", "L") else "RGB")


def _convert(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _scale(deep: MatLike) -> NDArray[np.uint8]:
    """Return deep pixels scaled to uint8, by the smallest usual full scale that holds them all."""
    values = np.nan_to_num(deep.astype(np.float32), posinf=0, neginf=0)
    values = np.clip(values, -MAX_DEEP_VALUE, MAX_DEEP_VALUE, out=values)
    values -= min(0.0, float(values.min()))
    top = float(values.max())
    full = next((scale for scale in FULL_SCALES if top <= scale), top)
    return np.asarray(np.rint(values * (255 / full)), np.uint8)


def _reduce_deep(deep: MatLike) -> MatLike:
    """Return deep pixels reduced to working size. Scaling needs several copies of them."""
    if max(deep.shape) <= LONG_SIDE:
        return deep
    height, width = _reduced(deep.shape)
    dtype = np.uint16 if deep.dtype.itemsize == 2 else np.float32
    array: MatLike = deep.astype(dtype, copy=False)
    return cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA)


def _reduce(image: Image.Image) -> Image.Image:
    if max(image.size) <= LONG_SIDE:
        return image
    width, height = _reduced(image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _reduced(sides: tuple[int, ...]) -> Iterator[int]:
    return (max(1, round(side * LONG_SIDE / max(sides))) for side in sides)


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo the EXIF orientation: 5 to 8 are transposed, and each pair of bits is a mirroring."""
    if orientation in TRANSPOSED_ORIENTATIONS:
        pixels = pixels.T
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


class InterruptibleBytesIO(BytesIO):
    """A byte stream that raises ClientDisconnected if it is read after the client disconnected."""

    def __init__(self, data: bytes, is_cancelled: Callable[[], bool]) -> None:
        super().__init__(data)
        self.is_cancelled = is_cancelled

    def read(self, size: int | None = -1, /) -> bytes:
        if self.is_cancelled():
            raise ClientDisconnected("The client disconnected before its image was decoded.")
        return super().read(size)
