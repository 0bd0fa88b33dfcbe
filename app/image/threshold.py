"""Ink threshold: separates the pixels that a pen touched from the background."""

from typing import Final, NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

SMALL_SIDE: Final = 48
TONES: Final = np.arange(256, dtype=np.float64)
# Of 255. Anything fainter is not ink, even on a spotless background.
MIN_INK: Final = 14
# Share of the variance that two flat tones explain; an even gradient with noise reaches 0.75.
TWO_TONES: Final = 0.85


# Neighbouring pixels of a picture are alike. In noise they are alike only by chance, less so in a
# larger image; the thinnest lines on an empty canvas still reach twice this.
MIN_CORRELATION: Final = 0.15
SMALL_SAMPLE_TERM: Final = 1.6


class Threshold(NamedTuple):
    """The lowest amount that is ink, and the amount in the middle of a stroke.

    What is fainter than ink, but at least `faint`, stands out from the background's noise.
    """

    level: float
    full: float
    faint: float


class Split(NamedTuple):
    level: int
    explained: float
    low: float
    high: float


def find_threshold(amount: MatLike) -> Threshold | None:
    """Return the threshold by Otsu's method, above the noise of the background; None for noise."""
    counts = cv2.calcHist([amount], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    split = _otsu(counts)
    gap = split.high - split.low
    if max(amount.shape) < SMALL_SIDE:
        full = _quantile(counts, 0.98)
        return Threshold(split.level, full, split.level) if gap > 20 else None
    quiet, middle = _quantile(counts, 0.16), _quantile(counts, 0.5)
    floor = middle + max(MIN_INK, 4 * (middle - quiet))
    # Thick strokes cover so much that the median no longer measures the background.
    if (
        split.explained > TWO_TONES
        and gap > 40
        and counts[split.level :].sum() > 0.02 * amount.size
    ):
        return Threshold(split.level, split.high, min(split.level, floor))
    if floor >= 250 or counts[floor:].sum() < 4:
        return None
    # Otsu again, on the prominent pixels: thin strokes are too few to show in the whole histogram.
    # This leaves ruled lines, fainter than the pen, below the threshold.
    counts[:floor] = 0
    level = max(floor, int(0.9 * _otsu(counts).level))
    return Threshold(level, max(_quantile(counts, 0.9), level + 1), floor)


def is_noise(thumb: MatLike) -> bool:
    """Return whether each pixel is uncorrelated with its neighbours to the right and below."""
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
    """Return the split with the greatest variance between both classes (Otsu 1979)."""
    share = counts / max(1.0, float(counts.sum()))
    below, first = share.cumsum(), (share * TONES).cumsum()
    mean = float(first[-1])
    weight = below * (1 - below)
    between = (mean * below - first) ** 2 / np.maximum(weight, 1e-9) * (weight > 1e-9)
    # If nothing lies between the classes, every split is equally good: take the middle one.
    (best_ones,) = (between >= between.max() * (1 - 1e-6)).nonzero()
    best = int(best_ones.sum()) // len(best_ones)
    variance = float(share @ (TONES - mean) ** 2)
    low = float(first[best]) / max(float(below[best]), 1e-9)
    high = (mean - float(first[best])) / max(1 - float(below[best]), 1e-9)
    return Split(best + 1, float(between[best]) / max(variance, 1e-9), low, high)
