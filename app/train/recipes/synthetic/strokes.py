"""Pen strokes as curves: quadratic B-splines whose control points are drawn at random.

A stroke is written as text, in percent of a box: `"30,20~-20,80 50,0! 50,100"` has three control
points. `x,y` is a point, `y` grows downwards, and `x,y~x,y` is drawn evenly on the segment between
two points. A curve passes near its control points; `!` makes one a corner. Both ends are corners.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]  # (N, 2): x, y
# Points on the curve for each control point.
STEPS: Final = 6
_t = np.arange(STEPS)[:, None] / STEPS
# (STEPS, 3): the weights of three neighbouring control points (de Boor 1978, degree 2).
WEIGHTS: Final = np.hstack([(1 - _t) ** 2 / 2, 0.5 + _t - _t**2, _t**2 / 2])


@dataclass(frozen=True, slots=True)
class Stroke:
    """Control points: each lies between `starts` and `ends`, both (N, 2) in shares of the box.

    `order` lists the control points of the spline: a corner comes twice.
    """

    starts: Points
    ends: Points
    order: NDArray[np.int64]


@lru_cache
def parse_stroke(text: str) -> Stroke:
    """Return the stroke that the text describes. Raises ValueError if the text has no such form."""
    words = text.split()
    segments = [[_parse_point(point) for point in word.strip("!").split("~")] for word in words]
    starts, ends = ([segment[end] for segment in segments] for end in (0, -1))
    is_corner = [word.endswith("!") for word in words]
    is_corner[0] = is_corner[-1] = True
    order = np.repeat(np.arange(len(words)), np.where(is_corner, 2, 1))
    return Stroke(np.array(starts) / 100, np.array(ends) / 100, order)


def _parse_point(text: str) -> tuple[float, float]:
    across, down = text.split(",")
    return float(across), float(down)


def draw_curve(random: Generator, stroke: Stroke, jitter: float) -> Points:
    """Return points on a random curve, in shares of the box.

    `jitter` is the standard deviation by which each control point misses its place.
    """
    share = random.random((len(stroke.starts), 1))
    points = stroke.starts + share * (stroke.ends - stroke.starts)
    points += random.normal(0, jitter, points.shape)
    knots = points[stroke.order]
    windows = np.stack([knots[:-2], knots[1:-1], knots[2:]], 1)  # (M, 3, 2)
    curve = (WEIGHTS @ windows).reshape(-1, 2)
    return np.concatenate([curve, knots[-1:]])
