"""Which is ink: the dark or the light?

What enters: a thumbnail. What leaves: True where ink is darker than its background. This module
does not know what the ink shows.
"""

from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

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
    level, _ = cv2.threshold(thumb, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    light = thumb > level  # (H, W) bool
    share = float(light.mean())
    if not 0 < share < 1:
        return False
    gap = float(thumb[light].mean()) - float(thumb[~light].mean())
    two_tones = share * (1 - share) * gap**2 > TWO_TONES * float(thumb.var())
    return (1.5 if two_tones else 0.3) * _border_vote(light) + _rarity_vote(thumb) > DOUBT


def _border_vote(light: NDArray[np.bool_]) -> float:
    """-1 where the border is dark all round, 1 where it is light; looks inside a frame."""
    depth = min(light.shape) // 8
    inner = _ring_vote(light, depth)
    return inner if depth and abs(inner) > 0.9 else _ring_vote(light, 0)


def _ring_vote(light: NDArray[np.bool_], depth: int) -> float:
    height, width = light.shape
    part = light[depth : height - depth, depth : width - depth]
    return float(np.concatenate((part[0], part[-1], part[:, 0], part[:, -1])).mean()) * 2 - 1


def _rarity_vote(thumb: MatLike) -> float:
    """Skewness about the local median: positive where the dark pixels are the exception."""
    side = max(3, int(min(thumb.shape) * 0.6) | 1)
    away = thumb.astype(np.float32) - cv2.medianBlur(np.ascontiguousarray(thumb), side)
    spread = float(np.mean(away * away)) ** 1.5
    return -float(np.tanh(np.mean(away * away * away) / spread / 2)) if spread else 0.0
