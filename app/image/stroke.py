"""Stroke measurements: width, and whether the edges are those of a pen stroke."""

from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike

from app.image.threshold import Threshold

# As a share of the threshold, a few pixels beside the stroke: sharp strokes leave at most 0.3,
# faint ones 0.15. Remnants of shadows leave 0.2 to 0.8, and are always faint.
MAX_FADED_SHARE: Final = 0.4
FAINT_INK: Final = 70

# Half a width beside the stroke, even strokes that are all blur have faded to this. A remnant of a
# shadow sometimes has too, but it is usually wider for its length than a stroke, and fainter than
# twice the unevenness of the light that left it. No shadow on paper reaches STRONG_INK.
MAX_WIDTH_RATIO: Final = 0.35
STRONG_INK: Final = 130


def stroke_width(mask: MatLike) -> float:
    """Return four times the mean distance to the edge: exact for a long stroke of one width."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0.0,))
    if not cv2.countNonZero(padded):
        return 0.0
    return 4 * cv2.mean(cv2.distanceTransform(padded, cv2.DIST_L2, 3), padded)[0] - 1


def has_stroke_edges(digit: MatLike, amount: MatLike, threshold: Threshold, uneven: float) -> bool:
    """Return whether these are pen strokes, sharp or out of focus, and not the edge of a shadow."""
    return _ends_sharply(digit, amount, threshold) or (
        threshold.full > min(2 * 255 * uneven, STRONG_INK)
        and _ends_softly(digit, amount, threshold)
    )


def _ends_sharply(digit: MatLike, amount: MatLike, threshold: Threshold) -> bool:
    near = cv2.dilate(digit, np.ones((5, 5), np.uint8))
    far = cv2.dilate(digit, np.ones((13, 13), np.uint8))
    share = MAX_FADED_SHARE if threshold.full > FAINT_INK else MAX_FADED_SHARE / 2
    return _is_bare(amount[far > near], share * threshold.level)


def _ends_softly(digit: MatLike, amount: MatLike, threshold: Threshold) -> bool:
    """Return whether the edges fade within a stroke's width: enlargement and blur scale both."""
    width = stroke_width(digit)
    if width > MAX_WIDTH_RATIO * max(cv2.boundingRect(digit)[2:]):
        return False
    distance = cv2.distanceTransform(1 - digit, cv2.DIST_L2, 5)
    near = max(2.0, width / 4)
    ring = amount[(distance > near) & (distance <= max(near + 2, width / 2))]
    return _is_bare(ring, MAX_FADED_SHARE * threshold.level)


def _is_bare(ring: MatLike, limit: float) -> bool:
    return not ring.size or bool(np.median(ring) < limit)
