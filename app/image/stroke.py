"""Measure strokes: how wide they are, and whether they end as a pen's do.

What enters: a mask of the digit, the amounts of ink and how uneven the light is. What leaves: a
width, or a verdict. This module does not know which digit it is, nor what else is in the picture.
"""

from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike

from app.image.threshold import Threshold

# Of the threshold: sharp strokes leave at most 0.3 a few pixels beside them, and faint ones 0.15;
# remnants of shadows leave 0.2 to 0.8, and are always faint.
FADED: Final = 0.4
FAINT: Final = 70

# Half a width beside them, even strokes that are nothing but blur have faded to this. A remnant
# has too, now and then; but it is as a rule wider for its length than a stroke is, and fainter
# than twice the unevenness of the light that left it. No shadow on paper reaches STRONG.
THICKEST: Final = 0.35
STRONG: Final = 130


def stroke_width(mask: MatLike) -> float:
    """Four times the mean distance to the edge: exact for a long stroke of one width."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0.0,))
    if not cv2.countNonZero(padded):
        return 0.0
    return 4 * cv2.mean(cv2.distanceTransform(padded, cv2.DIST_L2, 3), padded)[0] - 1


def has_stroke_edges(digit: MatLike, amount: MatLike, threshold: Threshold, uneven: float) -> bool:
    """Tell strokes, sharp or out of focus, from the rest of a shadow, which fades away slowly."""
    return _ends_sharply(digit, amount, threshold) or (
        threshold.full > min(2 * 255 * uneven, STRONG) and _ends_softly(digit, amount, threshold)
    )


def _ends_sharply(digit: MatLike, amount: MatLike, threshold: Threshold) -> bool:
    near = cv2.dilate(digit, np.ones((5, 5), np.uint8))
    far = cv2.dilate(digit, np.ones((13, 13), np.uint8))
    share = FADED if threshold.full > FAINT else FADED / 2
    return _is_bare(amount[far > near], share * threshold.at)


def _ends_softly(digit: MatLike, amount: MatLike, threshold: Threshold) -> bool:
    """Soft edges are as wide as enlargement or focus made them: compare them with the stroke."""
    width = stroke_width(digit)
    if width > THICKEST * max(cv2.boundingRect(digit)[2:]):
        return False
    away = cv2.distanceTransform(1 - digit, cv2.DIST_L2, 5)
    near = max(2.0, width / 4)
    around = amount[(away > near) & (away <= max(near + 2, width / 2))]
    return _is_bare(around, FADED * threshold.at)


def _is_bare(around: MatLike, limit: float) -> bool:
    return not around.size or bool(np.median(around) < limit)
