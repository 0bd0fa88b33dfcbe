"""Fit ink to MNIST's form: size, stroke width and position.

The input is the ink cropped to the digit, light on dark.
"""

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from app.image.mnist_format import BOX, SIDE
from app.image.stroke import stroke_width

# Stroke widths in pixels of the 20x20 box. In MNIST the middle 90 % lie between 1.8 and 4.1.
THIN_STROKE: Final = (2.2, 2.7)
THICK_STROKE: Final = (5.0, 4.0)

# A bitmap of a few pixels is enlarged to this, so that its strokes can be measured and trimmed,
# and its blurred edges sharpened. Twice this size is enough for every bitmap.
ENLARGED_SIDE: Final = 80
EDGE: Final = (20, 235)

# MNIST put the centre of mass, rounded down, on pixel 14, and on average it lies exactly there.
MIDDLE: Final = 14.0


def to_mnist(ink: MatLike) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Return the digit as (28, 28) uint8, longer side 20 pixels, and the shift that centred it."""
    return _centre(_fit(_even_stroke(_resize(ink))))


def stretch(ink: MatLike, low: float, high: float) -> MatLike:
    """Map the tones low..high to 0..255."""
    return cv2.LUT(ink, _levels(float(low), float(high)))


@lru_cache
def _levels(low: float, high: float) -> NDArray[np.uint8]:
    scale = 255 / max(high - low, 1.0)
    levels = (np.arange(256, dtype=np.float32) - low) * scale
    return np.asarray(np.clip(levels, 0, 255), np.uint8)


def _resize(ink: MatLike) -> MatLike:
    ratio = ENLARGED_SIDE / max(ink.shape)
    if ratio < 0.5:
        height, width = (max(1, round(side * 2 * ratio)) for side in ink.shape)
        return cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA)
    if ratio <= 1.3:
        return ink
    large = cv2.resize(ink, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_CUBIC)
    return stretch(large, *EDGE)


def _even_stroke(ink: MatLike) -> MatLike:
    """Thicken hairlines, which scaling would wash out, and thin strokes that fill their holes."""
    unit = max(ink.shape) / BOX
    width = stroke_width((ink > 127).astype(np.uint8)) / unit
    if width < THIN_STROKE[0]:
        side = _odd((THIN_STROKE[1] - width) * unit)
        return cv2.dilate(
            np.pad(ink, side // 2), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        )
    if width > THICK_STROKE[0]:
        side = _odd((width - THICK_STROKE[1]) * unit)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        thinner = cv2.erode(ink, disc, borderType=cv2.BORDER_CONSTANT, borderValue=(0.0,))
        return thinner if thinner.max() > 127 else ink
    return ink


def _odd(size: float) -> int:
    return int(size / 2) * 2 + 1


def _fit(ink: MatLike) -> MatLike:
    x, y, width, height = cv2.boundingRect((ink > 60).astype(np.uint8))
    ink = ink[y : y + height, x : x + width]
    ratio = BOX / max(ink.shape)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return cv2.resize(ink, size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC)


def _centre(ink: MatLike) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    height, width = ink.shape
    moments = cv2.moments(ink)
    corner = []
    for first, length in (("m10", width), ("m01", height)):
        mass = moments[first] / moments["m00"]
        corner.append(min(max(round(MIDDLE - mass), 0), SIDE - length))
    x, y = corner
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[y : y + height, x : x + width] = ink
    return pixels, (x - (SIDE - width) / 2, y - (SIDE - height) / 2)
