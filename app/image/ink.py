"""Background removal: polarity, sheet of paper, flat field."""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike

from app.image.threshold import is_noise

THUMB: Final = 64
# A smaller image is a bitmap and not a photo: its background has one tone.
SMALL_SIDE: Final = 48
# With fewer pixels, ink and noise cannot be distinguished.
TINY_SIDE: Final = 16
# A stroke must be narrower than this share of the shorter side; anything wider may be a shadow.
WINDOW: Final = 0.4


@dataclass(frozen=True, slots=True)
class Ink:
    """Ink of each pixel, whether it was darker than its background, and how even the light was."""

    amount: MatLike  # (H, W) uint8
    inverted: bool
    uneven: float  # variation of the bare background's tone, as a share of that tone


def find_ink(grey: MatLike) -> Ink | None:
    """Return the ink, or None. Dividing by the background (flat field) removes shadows."""
    height, width = grey.shape
    thumb = _thumbnail(grey)
    if max(thumb.shape) >= TINY_SIDE and is_noise(thumb):
        return None
    page = find_page(thumb) if max(grey.shape) >= SMALL_SIDE else None
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
    """Return the tone of a light background without ink, and by which share of itself it varies.

    The tone is an array with a value for each cell, or one number for all.
    """
    level, _ = cv2.threshold(thumb, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    light = thumb[thumb > level]
    ordered = np.sort(light if light.size else thumb, axis=None)
    low, tone, high = (int(ordered[int(share * ordered.size)]) for share in (0.2, 0.75, 0.9))
    # An even background needs no estimate, and then strokes may have any width.
    if max(thumb.shape) < SMALL_SIDE or high - low <= 3:
        return tone, 0.0
    side = max(3, int(min(thumb.shape) * WINDOW) | 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    # Without a margin of the same tone, closing turns every gradient at the border into ink.
    wide = cv2.copyMakeBorder(thumb, side, side, side, side, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, disc)
    bare = cv2.GaussianBlur(closed, (0, 0), max(1.0, side / 8))[side:-side, side:-side]
    return bare, float(np.ptp(bare)) / max(1.0, float(np.median(bare)))


# Share of the variance that two flat tones explain. Noise alone gives 0.64, a shadow on paper
# about 0.75, and flat strokes on a flat background more than this.
TWO_TONES: Final = 0.8
# If the votes cancel out, assume dark on light, as most people write.
DOUBT: Final = -0.1


def is_dark_on_light(thumb: MatLike) -> bool:
    """Return whether the ink is darker than its background, by two votes.

    The votes are the tone of the border, and the side to which only few pixels deviate far. In a
    two-tone image the border decides, however thick the strokes. With shadows, the border says
    little, but there ink is a rare exception to its surroundings.
    """
    _, light = cv2.threshold(thumb, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    share = cv2.countNonZero(light) / light.size
    if not 0 < share < 1:
        return False
    (mean,), (deviation,) = (values[0] for values in cv2.meanStdDev(thumb))
    gap = (cv2.mean(thumb, light)[0] - mean) / (1 - share)
    two_tones = share * (1 - share) * gap**2 > TWO_TONES * deviation**2
    return (1.5 if two_tones else 0.3) * _border_vote(light) + _rarity_vote(thumb) > DOUBT


def _border_vote(light: MatLike) -> float:
    """Return -1 if the border is all dark, 1 if it is all light; looks inside a frame.

    A frame may lie at any depth. If a ring inside is the frame itself, the other one is paper.
    """
    outer = _ring_vote(light, 0)
    depths = (min(light.shape) // 8, min(light.shape) // 5)
    inner = [vote for depth in depths if depth and abs(vote := _ring_vote(light, depth)) > 0.9]
    if not inner or (len(inner) > 1 and inner[0] * inner[1] < 0):
        return outer
    return inner[0]


def _ring_vote(light: MatLike, depth: int) -> float:
    height, width = light.shape
    part = light[depth : height - depth, depth : width - depth]
    sides = part[0], part[-1], part[:, 0], part[:, -1]
    ring = b"".join(side.tobytes() for side in sides)
    return ring.count(1) / len(ring) * 2 - 1


def _rarity_vote(thumb: MatLike) -> float:
    """Return the skewness about the local median: positive if the dark pixels are the exception."""
    side = max(3, int(min(thumb.shape) * 0.6) | 1)
    deviation = thumb.astype(np.float32) - cv2.medianBlur(np.ascontiguousarray(thumb), side)
    squares = cv2.multiply(deviation, deviation)
    spread = cv2.mean(squares)[0] ** 1.5
    return -math.tanh(cv2.mean(cv2.multiply(squares, deviation))[0] / spread / 2) if spread else 0.0


# An ellipse fills pi / 4 of its bounding rectangle; a sheet fills more than this, even if askew.
MIN_FILL: Final = 0.87
# Paper in shadow keeps more than this share of its tone; a desk has less, right up to the edge.
MAX_DESK_TONE: Final = 0.6

NEAR_KERNEL: Final = np.ones((3, 3), np.uint8)
FAR_KERNEL: Final = np.ones((5, 5), np.uint8)


def find_page(thumb: MatLike) -> MatLike | None:
    """Return a mask (H, W) uint8 of a light, rectangular, written sheet on a dark background."""
    _, light = cv2.threshold(thumb, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    contours, _ = cv2.findContours(light, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    outline = max(contours, key=cv2.contourArea)
    page = cv2.drawContours(np.zeros_like(thumb), [outline], -1, (1.0,), cv2.FILLED)
    if not _is_sheet(page, outline):
        return None
    page = cv2.erode(page, NEAR_KERNEL, borderType=cv2.BORDER_CONSTANT, borderValue=(1.0,))
    return page if _has_sharp_edge(thumb, page) and _is_written(thumb, page) else None


def _is_sheet(page: MatLike, outline: MatLike) -> bool:
    _, (width, height), _ = cv2.minAreaRect(outline)
    ring = np.concatenate((page[0], page[-1], page[:, 0], page[:, -1]))
    full = float(page.sum()) >= MIN_FILL * (width + 1) * (height + 1)
    return full and 0.15 < float(page.mean()) < 0.97 and float(ring.mean()) <= 0.75


def _has_sharp_edge(thumb: MatLike, page: MatLike) -> bool:
    inner = thumb[(page > 0) & (cv2.erode(page, FAR_KERNEL) == 0)]
    outer = thumb[(cv2.dilate(page, FAR_KERNEL) > 0) & (cv2.dilate(page, NEAR_KERNEL) == 0)]
    return bool(inner.size and outer.size and np.median(outer) <= MAX_DESK_TONE * np.median(inner))


def _is_written(thumb: MatLike, page: MatLike) -> bool:
    deviation = cv2.absdiff(thumb, cv2.medianBlur(np.ascontiguousarray(thumb), 15))
    inside = cv2.erode(page, NEAR_KERNEL) > 0
    tone = float(np.median(thumb[page > 0]))
    return bool(inside.any() and 0.002 < np.mean(deviation[inside] > 0.15 * tone) < 0.5)
