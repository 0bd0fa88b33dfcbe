"""From amounts of ink to a mask: where a pen touched the paper.

What enters: ink per pixel. What leaves: `Threshold`, or None where there is nothing but noise.
This module does not know shapes; `clean` does.
"""

from typing import Final, NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

SMALL_SIDE: Final = 48
TONES: Final = np.arange(256, dtype=np.float64)
# Of 255: fainter than this is not ink, even on a spotless ground.
MIN_INK: Final = 14
# Share of the variance that two plain tones explain; an even ramp of noise reaches 0.75.
TWO_TONES: Final = 0.85


# Neighbours in a picture are alike. In noise they are so by chance only, and chance shrinks with
# size; the thinnest lines on an empty canvas still reach twice this.
MIN_CORRELATION: Final = 0.15
SMALL_SAMPLE_TERM: Final = 1.6


class Threshold(NamedTuple):
    """From `at` on there is ink; `full` is what the middle of a stroke has."""

    level: float
    full: float


class Split(NamedTuple):
    level: int
    explained: float
    low: float
    high: float


def find_threshold(amount: MatLike) -> Threshold | None:
    """Part ink from background by Otsu's method, above the noise of the background."""
    counts = cv2.calcHist([amount], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    split = _otsu(counts)
    gap = split.high - split.low
    if max(amount.shape) < SMALL_SIDE:
        return Threshold(split.level, _quantile(counts, 0.98)) if gap > 20 else None
    # Thick strokes cover so much that the median is no measure of the background any more.
    if (
        split.explained > TWO_TONES
        and gap > 40
        and counts[split.level :].sum() > 0.02 * amount.size
    ):
        return Threshold(split.level, split.high)
    quiet, middle = _quantile(counts, 0.16), _quantile(counts, 0.5)
    floor = middle + max(MIN_INK, 4 * (middle - quiet))
    if floor >= 250 or counts[floor:].sum() < 4:
        return None
    # Again among what stands out: thin strokes are too few to show in the whole histogram, and
    # this leaves ruled lines, fainter than the pen, below the threshold.
    counts[:floor] = 0
    level = max(floor, int(0.9 * _otsu(counts).level))
    return Threshold(level, max(_quantile(counts, 0.9), level + 1))


def is_noise(thumb: MatLike) -> bool:
    """True where no pixel of the thumbnail tells anything about the next one, nor the one below."""
    deviation = thumb.astype(np.float32) - np.float32(cv2.mean(thumb)[0])
    power = cv2.mean(cv2.multiply(deviation, deviation))[0]
    if min(thumb.shape) < 2 or power == 0.0:
        return power == 0.0
    horizontal = cv2.mean(cv2.multiply(deviation[:, 1:], deviation[:, :-1]))[0]
    vertical = cv2.mean(cv2.multiply(deviation[1:], deviation[:-1]))[0]
    return bool(
        max(horizontal, vertical) < (MIN_CORRELATION + SMALL_SAMPLE_TERM / max(thumb.shape)) * power
    )


def _quantile(counts: NDArray[np.float64], share: float) -> int:
    total = counts.cumsum()
    return int(total.searchsorted(share * total[-1]))


def _otsu(counts: NDArray[np.float64]) -> Split:
    """Otsu (1979): the split with the greatest variance between both classes."""
    share = counts / max(1.0, float(counts.sum()))
    below, first = share.cumsum(), (share * TONES).cumsum()
    mean = float(first[-1])
    weight = below * (1 - below)
    between = (mean * below - first) ** 2 / np.maximum(weight, 1e-9) * (weight > 1e-9)
    # Where nothing lies between the classes every split is as good: take the middle one.
    (best_ones,) = (between >= between.max() * (1 - 1e-6)).nonzero()
    best = int(best_ones.sum()) // len(best_ones)
    variance = float(share @ (TONES - mean) ** 2)
    low = float(first[best]) / max(float(below[best]), 1e-9)
    high = (mean - float(first[best])) / max(1 - float(below[best]), 1e-9)
    return Split(best + 1, float(between[best]) / max(variance, 1e-9), low, high)
