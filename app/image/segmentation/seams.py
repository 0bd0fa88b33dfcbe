"""Over-segmentation: seams from top to bottom that might separate two touching digits.

A seam is a path through a piece of ink that crosses as little ink as any near it, found by dynamic
programming. Many are wrong; the best path through the candidates (LeCun et al. 1998, section VII)
picks the right ones.
"""

from typing import Final, NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

# Height of the image in which seams are looked for.
ROWS: Final = 40
# Rows through which seams are led, as shares of the height.
WAYPOINTS: Final = (0.25, 0.5, 0.75)
# Columns a row by which a piece is sheared. Handwriting leans to the right.
SLANTS: Final = (0.0, 0.5)
# Cost of a step aside, in pixels of ink.
STEP: Final = 0.15
ASIDE: Final = np.array([[0.0], [STEP], [STEP]], np.float32)
WALL: Final = np.float32(1e6)
# A seam leaves at least this share of the area of a square of the line's height on either side.
MIN_PART: Final = 0.02
# Seams nearer to each other than this, in heights of the line, count as one.
MIN_DISTANCE: Final = 0.1
# A piece as wide as it is high gets about five seams, a narrow one fewer.
SEAMS_PER_HEIGHT: Final = 9
NARROW: Final = 0.3

Paths = NDArray[np.intp]


class Seam(NamedTuple):
    """The first column right of the seam in each row of a piece, and what it crosses."""

    columns: NDArray[np.intp]  # (H,)
    crossed: float  # ink, in heights of the line
    runs: int  # strokes: a seam through a loop crosses two


def find_seams(masks: list[MatLike], height: float) -> list[list[Seam]]:
    """Return the seams of each piece, (H, W) uint8 of 0 and 1, from left to right.

    `height` is the line's, in pixels. All pieces are searched at once, side by side between walls:
    the dynamic program goes row by row, however wide the rows.
    """
    inks = [_shrink(mask, height) for mask in masks]
    panels = [_shear(ink, slant) for ink in inks for slant in SLANTS]
    starts = np.cumsum([0, *(panel.shape[1] + 1 for panel in panels)])
    wall = np.full((ROWS, 1), WALL, np.float32)
    strip = np.hstack([part for panel in panels for part in (panel, wall)]) if panels else wall
    paths = _paths(strip)
    owner = np.searchsorted(starts, paths[:, 0], "right") - 1
    seams = []
    for number, (mask, ink) in enumerate(zip(masks, inks, strict=True)):
        upright = []
        for index, slant in enumerate(SLANTS):
            panel = number * len(SLANTS) + index
            shift = _shift(slant) + starts[panel]
            upright.append(np.clip(paths[owner == panel] - shift, 0, ink.shape[1] - 1))
        seams.append(_choose(np.unique(np.concatenate(upright), axis=0), ink, mask))
    return seams


def _shrink(mask: MatLike, height: float) -> MatLike:
    columns = max(3, round(mask.shape[1] * ROWS / height))
    return cv2.resize(mask * np.float32(1), (columns, ROWS), interpolation=cv2.INTER_AREA)


def _shift(slant: float) -> NDArray[np.intp]:
    shift: NDArray[np.float64] = np.rint(slant * np.arange(ROWS))
    return shift.astype(np.intp)


def _shear(ink: MatLike, slant: float) -> MatLike:
    columns, shift = ink.shape[1], _shift(slant)
    sheared = np.zeros((ROWS, columns + int(shift[-1])), np.float32)
    np.put_along_axis(sheared, np.arange(columns) + shift[:, None], ink, 1)
    return sheared


def _paths(ink: MatLike) -> Paths:
    """Return the cheapest paths through each waypoint: (n, ROWS) columns."""
    down, up = _costs(ink), _costs(ink[::-1])[::-1]
    total = down + up - ink
    paths = []
    for waypoint in WAYPOINTS:
        row = int(waypoint * ROWS)
        columns = _minima(total[row])
        path = np.empty((len(columns), ROWS), np.intp)
        path[:, row] = columns
        for step in range(row - 1, -1, -1):
            path[:, step] = _cheapest(down[step], path[:, step + 1])
        for step in range(row + 1, ROWS):
            path[:, step] = _cheapest(up[step], path[:, step - 1])
        paths.append(path)
    return np.concatenate(paths)


def _costs(ink: MatLike) -> NDArray[np.float32]:
    """Return the least cost of a path from the top to each pixel, its own ink included."""
    costs = np.array(ink, np.float32)
    for row in range(1, len(costs)):
        above = costs[row - 1]
        near = above.copy()
        np.minimum(near[1:], above[:-1] + STEP, out=near[1:])
        np.minimum(near[:-1], above[1:] + STEP, out=near[:-1])
        costs[row] += near
    return costs


def _minima(costs: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the middle of each plateau that is lower than both its neighbours."""
    level = np.round(costs, 1)
    starts = np.flatnonzero(np.diff(level, prepend=np.inf) != 0)
    ends = np.append(starts[1:], len(level))
    values = np.pad(level[starts], 1, constant_values=np.inf)
    lowest = (values[1:-1] < values[:-2]) & (values[1:-1] < values[2:])
    middles: NDArray[np.intp] = (starts[lowest] + ends[lowest] - 1) // 2
    return middles


def _cheapest(costs: NDArray[np.float32], columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the cheapest of the columns at most one aside."""
    last = len(costs) - 1
    near = np.stack([columns, np.maximum(columns - 1, 0), np.minimum(columns + 1, last)])
    best = (costs[near] + ASIDE).argmin(0)
    cheapest: NDArray[np.intp] = near[best, np.arange(len(columns))]
    return cheapest


def _choose(paths: Paths, ink: MatLike, mask: MatLike) -> list[Seam]:
    """Return the cheapest paths that divide the ink and differ, from left to right."""
    crossed = ink[np.arange(ROWS), paths].sum(1)
    left = np.cumsum(ink, axis=1)[np.arange(ROWS), paths].sum(1)
    min_ink, total = MIN_PART * ROWS * ROWS, float(ink.sum())
    divides = np.flatnonzero((left >= min_ink) & (total - left >= min_ink))
    count = round(SEAMS_PER_HEIGHT * (ink.shape[1] / ROWS - NARROW))
    chosen: list[int] = []
    for number in divides[np.argsort(crossed[divides])].tolist():
        distances = np.abs(paths[chosen] - paths[number]).mean(1)
        if len(chosen) < count and (distances >= MIN_DISTANCE * ROWS).all():
            chosen.append(number)
    chosen.sort(key=lambda number: float(paths[number].mean()))
    return [
        Seam(
            _enlarge(paths[n], mask.shape, ink.shape[1]),
            float(crossed[n]) / ROWS,
            _runs(ink, paths[n]),
        )
        for n in chosen
    ]


def _runs(ink: MatLike, path: NDArray[np.intp]) -> int:
    inked = ink[np.arange(ROWS), path] > 0.5
    return int(np.count_nonzero(inked[1:] & ~inked[:-1])) + int(inked[0])


def _enlarge(path: NDArray[np.intp], shape: tuple[int, ...], columns: int) -> NDArray[np.intp]:
    rows = ((np.arange(shape[0]) + 0.5) * ROWS / shape[0]).astype(np.intp)
    enlarged: NDArray[np.float64] = np.rint((path[rows] + 0.5) * shape[1] / columns)
    return enlarged.astype(np.intp)
