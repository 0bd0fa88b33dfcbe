"""Recognise an image that already is in MNIST's form, so that it passes untouched.

What enters: a grey image of any size. What leaves: its pixels, ink light on dark, or None.
This module does not know how other images are brought into that form.
"""

from typing import Final, NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

SIDE: Final = 28
BOX: Final = 20

# Measured on all 70,000 digits: 99.9 % have a longer side of exactly 20 pixels and the rest come
# near it; the centre of mass, in pixel indices, lies between 13.48 and 14.50 in every one.
LONG_SIDES: Final = (18, 20)
MASS: Final = (13.3, 14.7)

# Every one reaches 254 and is exactly 0 on 0.55 of its pixels or more. JPEG at quality 30 leaves
# at least 240, and 0.56 up to BARE. Anything else would look too faint, or too thick, to a network
# that knows MNIST alone.
PEAK: Final = 230
BARE: Final = 12
GROUND: Final = 0.5

# Below this, JPEG's ringing; above it, ink.
FAINT: Final = 48


class Known(NamedTuple):
    """The pixels as they are, inverted back if need be, and where the ink lies in them."""

    pixels: NDArray[np.uint8]  # (28, 28)
    inverted: bool
    box: tuple[int, int, int, int]


def from_mnist_form(grey: NDArray[np.uint8]) -> Known | None:
    """Recognise by tones, size and place of the ink; None where the image is in another form."""
    if grey.shape != (SIDE, SIDE):
        return None
    inverted = bool(grey[0, 0] > 127)
    pixels = cv2.bitwise_not(grey) if inverted else grey
    if not _has_full_scale(pixels):
        return None
    ink = cv2.threshold(pixels, FAINT, 255, cv2.THRESH_TOZERO)[1]
    left, top, width, height = cv2.boundingRect(ink)
    if not LONG_SIDES[0] <= max(width, height) <= LONG_SIDES[1]:
        return None
    moments = cv2.moments(ink)
    for first in (moments["m10"], moments["m01"]):
        if not MASS[0] <= first / moments["m00"] <= MASS[1]:
            return None
    whole = np.array(pixels, np.uint8, order="C")
    return Known(whole, inverted, (left, top, left + width, top + height))


def _has_full_scale(pixels: MatLike) -> bool:
    above = cv2.threshold(pixels, BARE, 255, cv2.THRESH_BINARY)[1]
    return cv2.countNonZero(above) <= (1 - GROUND) * SIDE * SIDE and int(pixels.max()) >= PEAK
