"""Which is ink: the dark or the light?

What enters: a thumbnail. What leaves: True where ink is darker than its background. This module
does not know what the ink shows.
"""

import math
from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike

# Share of the variance that two plain tones explain. Noise alone gives 0.64 and a shadow on paper
# about 0.75; flat strokes on a flat ground more than this.
TWO_TONES: Final = 0.8
# Where the votes cancel out, most people write dark on light.
DOUBT: Final = -0.1


def is_dark_on_light(thumb: MatLike) -> bool:
    """Weigh two votes: the tone that lines the border, and the side to which few pixels go far.

    The border decides where there are two tones, however thick the strokes. Under shadows it says
    little, but there ink is the rare exception to its surroundings.
    """
    _, light = cv2.threshold(thumb, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    share = cv2.countNonZero(light) / light.size
    if not 0 < share < 1:
        return False
    (mean,), (deviation,) = (each[0] for each in cv2.meanStdDev(thumb))
    gap = (cv2.mean(thumb, light)[0] - mean) / (1 - share)
    two_tones = share * (1 - share) * gap**2 > TWO_TONES * deviation**2
    return (1.5 if two_tones else 0.3) * _border_vote(light) + _rarity_vote(thumb) > DOUBT


def _border_vote(light: MatLike) -> float:
    """-1 where the border is dark all round, 1 where it is light; looks inside a frame."""
    depth = min(light.shape) // 8
    inner = _ring_vote(light, depth)
    return inner if depth and abs(inner) > 0.9 else _ring_vote(light, 0)


def _ring_vote(light: MatLike, depth: int) -> float:
    height, width = light.shape
    part = light[depth : height - depth, depth : width - depth]
    sides = part[0], part[-1], part[:, 0], part[:, -1]
    ring = b"".join(side.tobytes() for side in sides)
    return ring.count(1) / len(ring) * 2 - 1


def _rarity_vote(thumb: MatLike) -> float:
    """Skewness about the local median: positive where the dark pixels are the exception."""
    side = max(3, int(min(thumb.shape) * 0.6) | 1)
    away = thumb.astype(np.float32) - cv2.medianBlur(np.ascontiguousarray(thumb), side)
    squares = cv2.multiply(away, away)
    spread = cv2.mean(squares)[0] ** 1.5
    return -math.tanh(cv2.mean(cv2.multiply(squares, away))[0] / spread / 2) if spread else 0.0
