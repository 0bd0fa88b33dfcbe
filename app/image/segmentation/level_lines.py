"""Level lines in a mask of ink: a profile of its rows, on a sheet that may be askew.

The slope of the lines is the one whose profile is the sharpest, as in the deskewing of scans. The
mask is sheared by it, so that each line lies in a few rows.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

# Lines are searched for on a coarse grid.
GRID: Final = 128
# Level lines still have steps, so look for runs of this share of the image, and at least so long.
MIN_RUN: Final = 1 / 14
MIN_RUN_PIXELS: Final = 9
# Noise breaks faint lines by gaps of so many pixels.
MAX_BREAK: Final = 5
# Rows per column by which a sheet may be askew: 10 degrees.
SLOPES: Final = np.linspace(-0.18, 0.18, 37)
# A level sheet has a slope of 0 unless another is so much sharper.
MIN_GAIN: Final = 1.02
SAMPLE: Final = 2000
# Beside a line there is at most this share of its ink. A thick stroke ends less sharply.
MAX_BESIDE: Final = 0.5
MIN_THICKNESS: Final = 3  # cells
BORDER: Final = 1 / 32


class Kind(NamedTuple):
    """A kind of line: shares of its row, of the sheet's height and of its width."""

    cover: float  # at least so much of its row is ink
    ends: int  # at least so many borders of the sheet it reaches, 0 to 2
    thickness: float  # at most
    room: float  # at least so long is its row: those of a sheet askew end in its corners


@dataclass(frozen=True, slots=True)
class Profile:
    """The level runs of ink in an (H, W) mask, and a value for each row of cells."""

    runs: MatLike  # (H + 2 * pad, W) uint8 of 0 and 1, levelled
    slope: float
    cover: NDArray[np.float64]
    ends: NDArray[np.intp]
    room: NDArray[np.float64]

    def find(self, kind: Kind) -> list[slice]:
        """Return the rows of each line of a kind."""
        limit = max(MIN_THICKNESS, kind.thickness * len(self.cover)) + 2  # `cover` is widened
        return [
            rows
            for rows in _groups(self.cover >= kind.cover)
            if rows.stop - rows.start <= limit
            and self.ends[rows].max() >= kind.ends
            and self.room[rows].max() >= kind.room
            and self._is_sharp(rows)
        ]

    def pixels(self, lines: list[slice], reach: int) -> MatLike:
        """Return the mask, (H, W) uint8, of lines and of what is at most `reach` pixels away."""
        chosen = np.zeros((len(self.cover), 1), np.uint8)
        for rows in lines:
            chosen[rows] = 1
        height, side = len(self.runs), 2 * reach + 1
        on_lines = cv2.resize(chosen, (1, height), interpolation=cv2.INTER_NEAREST)
        found = self.runs * on_lines.reshape(-1, 1)
        return _tilt(cv2.dilate(found, np.ones((side, side), np.uint8)), self.slope)

    def _is_sharp(self, rows: slice) -> bool:
        around = [n for n in (rows.start - 2, rows.stop + 1) if 0 <= n < len(self.cover)]
        return all(self.cover[n] <= MAX_BESIDE * self.cover[rows].max() for n in around)


def profile_rows(mask: MatLike) -> Profile:
    """Return the profile of the rows of an (H, W) uint8 mask of 0 and 1."""
    slope = _slope(mask)
    length = max(MIN_RUN_PIXELS, int(mask.shape[1] * MIN_RUN))
    level = _level(mask, slope)
    joined = cv2.morphologyEx(level, cv2.MORPH_CLOSE, np.ones((1, MAX_BREAK), np.uint8))
    runs = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    sheet = to_cells(_level(np.ones_like(mask), slope))
    cells = cv2.dilate(to_cells(runs), np.ones((3, 3), np.uint8)) * sheet
    room = sheet.sum(1)
    first, last = sheet.argmax(1), sheet.shape[1] - 1 - sheet[:, ::-1].argmax(1)
    ends = _has_ink(cells, first).astype(np.intp) + _has_ink(cells, last)
    cover = cells.sum(1) / np.maximum(room, 1)
    return Profile(runs, slope, cover, ends, room / sheet.shape[1])


def _groups(flags: NDArray[np.bool_]) -> list[slice]:
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [slice(first, last) for first, last in edges.reshape(-1, 2).tolist()]


def _has_ink(cells: MatLike, columns: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return for each row whether there is ink within a cell of its column."""
    wide = cv2.dilate(cells, np.ones((1, 3), np.uint8))
    ink: NDArray[np.bool_] = wide[np.arange(len(cells)), columns] > 0
    return ink


def _slope(mask: MatLike) -> float:
    """Return the slope of the lines in a mask, in rows per column; 0 if it can have none."""
    cells = to_cells(mask)
    if not _spans_sheet(cells):
        return 0.0
    y, x = np.nonzero(cells)
    step = -(-len(x) // SAMPLE)
    y, x = y[::step], x[::step]
    height, width = cells.shape
    pad = int(SLOPES[-1] * width / 2) + 2
    bins = height + 2 * pad
    rows = np.rint(y - SLOPES[:, None] * (x - width / 2)).astype(np.intp) + pad
    places = rows + bins * np.arange(len(SLOPES))[:, None]
    counts = np.bincount(places.ravel(), minlength=bins * len(SLOPES)).reshape(-1, bins)
    sharpness = (counts**2).sum(1)
    best = int(sharpness.argmax())
    is_askew = sharpness[best] > MIN_GAIN * sharpness[len(SLOPES) // 2]
    return float(SLOPES[best]) if is_askew else 0.0


def _spans_sheet(cells: MatLike) -> bool:
    """Return whether there is ink at two opposite borders, as there is of ruled lines."""
    edge = max(1, int(max(cells.shape) * BORDER))
    return any(bool(side[:edge].any() and side[-edge:].any()) for side in (cells, cells.T))


def _level(mask: MatLike, slope: float) -> MatLike:
    """Return the mask with the lines of a slope level: higher than before, if askew."""
    if not slope:
        return mask
    rows, columns = mask.shape
    pad = _pad(columns, slope)
    matrix = np.array([[1, 0, 0], [-slope, 1, slope * columns / 2 + pad]])
    return cv2.warpAffine(mask, matrix, (columns, rows + 2 * pad), flags=cv2.INTER_NEAREST)


def _tilt(level: MatLike, slope: float) -> MatLike:
    """Undo `_level`."""
    if not slope:
        return level
    rows, columns = level.shape
    pad = _pad(columns, slope)
    matrix = np.array([[1, 0, 0], [slope, 1, -slope * columns / 2 - pad]])
    return cv2.warpAffine(level, matrix, (columns, rows - 2 * pad), flags=cv2.INTER_NEAREST)


def _pad(columns: int, slope: float) -> int:
    return int(abs(slope) * columns / 2) + 1


def to_cells(mask: MatLike) -> MatLike:
    """Return the mask on the coarse grid; a cell with some ink is 1."""
    cell = max(1, max(mask.shape) // GRID)
    height, width = (max(1, side // cell) for side in mask.shape)
    share = cv2.resize(mask * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA)
    return (share > 0).astype(np.uint8)
