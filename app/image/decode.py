"""Image decoder: bytes of any format that Pillow reads by default to a grey image."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final, TypeAlias

import cv2
import numpy as np
import pillow_heif
from cv2.typing import MatLike
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, TiffImagePlugin

from app.errors import ImageTooLarge, NotAnImage, ServiceError
from app.image.gray import flatten, to_tones
from app.image.signatures import explain
from app.image.tiff import check_tiles, tile_size
from app.image.webp import BYTES_PER_PIXEL as WEBP_BYTES_PER_PIXEL
from app.image.webp import StillWebP, canvas_size, open_still

LONG_SIDE: Final = 1024

# Deliberately excluded: EPS and WMF, for which Pillow runs another program; ICO, ICNS, BLP and
# IPTC, which hold a second image whose size the header does not show, so no limit would apply.
FORMATS: Final = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000"),
    *("PPM", "QOI", "DIB", "PCX", "SGI", "XBM", "TGA"),
)
FORMAT_HINT: Final = "Send a PNG, JPEG, WebP, HEIC, GIF, BMP, TIFF or AVIF image."

# Full scales of deep pixels in practice: unit floats, 8 bits, 12-bit sensors, 16 bits.
FULL_SCALES: Final = (1.0, 255.0, 4095.0, 65535.0)
MAX_DEEP_VALUE: Final = 1e30  # of a deep pixel, so that the difference of two stays finite

# Bytes a pixel while an image is decoded and reduced (tests/image/test_memory.py). Pillow has four
# of them for each pixel in colour. Below four times the working size, it copies what it reduces.
PILLOW_BYTES_PER_PIXEL: Final = 4.5
COPY_BYTES_PER_PIXEL: Final = 5.5
GREY_ALPHA_BYTES_PER_PIXEL: Final = 3  # more than RGBA: a copy in mode LA beside that in RGBA
BYTES_PER_PIXEL: Final = {"WEBP": 16, "AVIF": 8, "HEIF": 8, "JPEG2000": 24, "GIF": 12}
DEEP_BYTES_PER_PIXEL: Final = 16
PROGRESSIVE_BYTES_PER_SAMPLE: Final = 2  # libjpeg keeps all coefficients until the last scan
BAND_PIXELS: Final = 2**20
REDUCING_GAP: Final = 2.0

ORIENTATION: Final = 0x0112
TRANSPOSED_ORIENTATIONS: Final = (5, 6, 7, 8)

# `open_image` applies the service's own limit and raises an error, not a warning in the log.
Image.MAX_IMAGE_PIXELS = None

# Oddities of a file concern its sender, not the log. Python keeps every warning text in memory.
warnings.filterwarnings("ignore", module=r"PIL\.")

# A request has one core. Nothing reads thumbnails, depth maps or auxiliary images.
pillow_heif.register_heif_opener(
    thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
)
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

Picture: TypeAlias = Image.Image | StillWebP


@dataclass(frozen=True, slots=True)
class Grey:
    """A grey image, and the (width, height) of the upright upload before any reduction."""

    pixels: NDArray[np.uint8]  # (H, W)
    size: tuple[int, int]


def open_image(data: bytes, max_pixels: int) -> Picture:
    """Open an image by its header. Raises NotAnImage, ImageTooLarge."""
    if not data:
        raise NotAnImage(f"The upload is empty. {FORMAT_HINT}")
    try:
        image = open_still(data) or Image.open(BytesIO(data), formats=FORMATS)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            check_tiles(image)
        allocated = allocated_size(image)
    except (ServiceError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(
            f"The image exceeds the limit of {max_pixels:,} pixels ({error}). Send a smaller image."
        ) from error
    except Exception as error:  # decoders raise nearly anything on hostile bytes
        raise NotAnImage(explain(data, FORMAT_HINT)) from error
    _check_pixel_limit(allocated, max_pixels)
    return image


def allocated_size(image: Picture) -> tuple[int, int]:
    """Return the larger (width, height) of the image and, in a TIFF, of a tile.

    A tile is allocated and decoded as a whole, however small the image in it.
    """
    tile = tile_size(image) if isinstance(image, TiffImagePlugin.TiffImageFile) else (0, 0)
    return max(image.size, tile, key=math.prod)


def opening_bytes(data: bytes) -> int:
    """Return the bytes of memory that `open_image` takes: an animated WebP has its canvas then."""
    return math.prod(canvas_size(data)) * BYTES_PER_PIXEL["WEBP"]


def memory_bytes(image: Picture) -> int:
    """Return the bytes of memory that decoding and reducing an open image takes, at most."""
    pixels = math.prod(allocated_size(image))
    is_copied = max(image.size) < 2 * REDUCING_GAP * LONG_SIDE
    copy_bytes = COPY_BYTES_PER_PIXEL if is_copied else 0
    if isinstance(image, StillWebP):
        return int(pixels * (WEBP_BYTES_PER_PIXEL + copy_bytes))
    if image.format == "JPEG":
        samples = len(image.getbands()) if image.info.get("progressive") else 0
        # A large one is decoded at a fraction of its size: see `_decode`.
        is_large = max(image.size) > 2 * LONG_SIDE
        return pixels * (samples * PROGRESSIVE_BYTES_PER_SAMPLE + (2 if is_large else 10))
    if _is_deep(image):
        default: float = DEEP_BYTES_PER_PIXEL
    else:
        plain = image.mode in ("1", "L", "RGB") and not image.has_transparency_data
        default = PILLOW_BYTES_PER_PIXEL + (1.5 if plain and is_copied else copy_bytes)
        default += GREY_ALPHA_BYTES_PER_PIXEL if image.mode == "LA" else 0
    return int(pixels * BYTES_PER_PIXEL.get(image.format or "", default))


def to_grey(image: Picture) -> Grey:
    """Return the decoded image in grey. Raises NotAnImage if it is truncated or corrupt."""
    kind = image.format or "image"
    try:
        return _decode(image)
    except MemoryError:
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


def _decode(image: Picture) -> Grey:
    width, height = image.size
    if isinstance(image, StillWebP):
        reduced, orientation = _reduce_array(image.decode()), image.orientation
    else:
        # JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the cost, and never below the requested
        # size. With three quarters, a 12-megapixel photo is decoded at 1/4.
        if max(width, height) > LONG_SIDE:
            ratio = 0.75 * LONG_SIDE / max(width, height)
            image.draft(None, (max(1, int(width * ratio)), max(1, int(height * ratio))))
        image.load()
        reduced, orientation = _reduce(image), _orientation(image)
    tones = to_tones(flatten(np.asarray(reduced)))
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
    if _is_deep(image):
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
    """Return the image in mode L, RGB or RGBA, reduced to working size."""
    if max(image.size) <= LONG_SIDE or _is_deep(image):
        return _to_standard_mode(image)
    if _factors(image.size) == (1, 1):
        return _resize(_to_standard_mode(image), image.size)
    width = image.width
    return _reduce_by_bands(
        image.size,
        lambda top, bottom: _to_standard_mode(image.crop((0, top, width, bottom))),
    )


def _reduce_array(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return (H, W, 3) or (H, W, 4) pixels as an image of working size."""
    height, width = pixels.shape[:2]
    if max(height, width) <= LONG_SIDE:
        return Image.fromarray(pixels)
    if _factors((width, height)) == (1, 1):
        return _resize(Image.fromarray(pixels), (width, height))
    return _reduce_by_bands(
        (width, height), lambda top, bottom: Image.fromarray(pixels[top:bottom])
    )


def _reduce_by_bands(
    sides: tuple[int, int], band: Callable[[int, int], Image.Image]
) -> Image.Image:
    """Return an image of these sides reduced to working size; `band` returns some of its rows.

    The result is that of `Image.resize` with a reducing gap, which would copy the whole image.
    """
    across, down = _factors(sides)
    rows = max(1, BAND_PIXELS // sides[0] // down) * down
    bands = [
        np.asarray(band(top, min(sides[1], top + rows)).reduce((across, down)))
        for top in range(0, sides[1], rows)
    ]
    return _resize(Image.fromarray(np.concatenate(bands)), sides, (across, down))


def _factors(sides: tuple[int, int]) -> tuple[int, int]:
    """Return the whole numbers of pixels, across and down, that are averaged before resizing."""
    width, height = (
        max(1, int(side / small / REDUCING_GAP))
        for side, small in zip(sides, _reduced(sides), strict=True)
    )
    return width, height


def _resize(
    image: Image.Image, sides: tuple[int, int], factors: tuple[int, int] = (1, 1)
) -> Image.Image:
    """Return an image of these sides, which was reduced by these factors, in working size."""
    width, height = _reduced(sides)
    box = (0.0, 0.0, sides[0] / factors[0], sides[1] / factors[1])
    return image.resize((width, height), Image.Resampling.BILINEAR, box)


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


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
