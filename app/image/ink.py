"""From grey pixels to ink: how much darker (or lighter) each pixel is than its own background.

What enters: a grey image, reduced to a working size. What leaves: `Ink`, near 0 wherever there is
only background, under whatever light; None where all is noise. This module does not know which of
the ink is the digit.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike

from app.image.mask import is_noise
from app.image.page import find_page
from app.image.polarity import is_dark_on_light

# The background is estimated on a thumbnail: a large window costs little there, and the average
# over each cell takes noise out of the extremes that the closing picks.
THUMB: Final = 64
# Below this an image is a bitmap and not a photo: one tone is its background.
SMALL: Final = 48
# Of fewer pixels nobody can tell whether they are noise.
TINY: Final = 16
# A stroke must be narrower than this share of the shorter side to be told from a shadow.
WINDOW: Final = 0.4


@dataclass(frozen=True, slots=True)
class Ink:
    """Ink per pixel, whether it was darker than its background, and what light lay on that."""

    amount: MatLike  # (H, W) uint8
    inverted: bool
    uneven: float  # how much the tone of the bare background varies, as a share of it


def find_ink(grey: MatLike) -> Ink | None:
    """Divide by the background, as scanners do (flat field), so that shadows vanish."""
    height, width = grey.shape
    thumb = _thumbnail(grey)
    if max(thumb.shape) >= TINY and is_noise(thumb):
        return None
    page = find_page(thumb) if max(grey.shape) >= SMALL else None
    if page is not None:
        thumb = np.where(page > 0, thumb, np.median(thumb[page > 0])).astype(np.uint8)
    inverted = is_dark_on_light(thumb)
    if not inverted:
        grey, thumb = cv2.bitwise_not(grey), cv2.bitwise_not(thumb)
    bare, uneven = _paper(thumb)
    if isinstance(bare, int):
        paper: MatLike = np.full_like(grey, max(bare, 1))
    else:
        large = cv2.resize(bare, (width, height), interpolation=cv2.INTER_LINEAR)
        paper = np.maximum(large, 1)
    amount = cv2.bitwise_not(cv2.divide(grey, paper, scale=255))
    if page is not None:
        safe = cv2.erode(page, np.ones((3, 3), np.uint8))
        on_page = cv2.resize(safe, (width, height), interpolation=cv2.INTER_NEAREST)
        amount = cv2.multiply(amount, on_page)
    return Ink(amount, inverted, uneven)


def _thumbnail(grey: MatLike) -> MatLike:
    ratio = THUMB / max(grey.shape)
    if ratio >= 1:
        return grey
    height, width = (max(1, round(side * ratio)) for side in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def _paper(thumb: MatLike) -> tuple[MatLike | int, float]:
    """Give the tone that a light background would have without ink, in each cell or in all alike,
    and by which share of itself it varies.
    """
    level, _ = cv2.threshold(thumb, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    light = thumb[thumb > level]
    ordered = np.sort(light if light.size else thumb, axis=None)
    low, tone, high = (int(ordered[int(share * ordered.size)]) for share in (0.2, 0.75, 0.9))
    # An even background needs no estimate, and so allows strokes of any width.
    if max(thumb.shape) < SMALL or high - low <= 3:
        return tone, 0.0
    side = max(3, int(min(thumb.shape) * WINDOW) | 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    # Without a margin of the same tone, closing turns every slope at the border into ink.
    wide = cv2.copyMakeBorder(thumb, side, side, side, side, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, disc)
    bare = cv2.GaussianBlur(closed, (0, 0), max(1.0, side / 8))[side:-side, side:-side]
    return bare, float(np.ptp(bare)) / max(1.0, float(np.median(bare)))
