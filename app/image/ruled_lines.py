"""Remove the lines of ruled and squared paper from a mask of ink.

Only thin lines across the whole image are removed; strokes that cross them stay intact.
"""

from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike

# A line spans at least this share of the image; the bar of a digit hardly ever does.
MIN_SPAN: Final = 0.85
# Lines at a slight angle break into steps, so look for runs of this share of the image.
MIN_RUN: Final = 1 / 14
MAX_THICKNESS: Final = 0.03
GRID: Final = 128
# If less than this is left, the lines were the digit.
MIN_REST: Final = 0.08


def drop_lines(mask: MatLike) -> MatLike:
    """Return an (H, W) uint8 mask of 0 and 1 without horizontal and vertical lines."""
    return cv2.transpose(_drop_rows(cv2.transpose(_drop_rows(mask))))


def _drop_rows(mask: MatLike) -> MatLike:
    length = max(9, int(mask.shape[1] * MIN_RUN))
    runs = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    if not cv2.countNonZero(runs):
        return mask
    lines, count = _select_lines(runs)
    if not count:
        return mask
    line = cv2.bitwise_and(cv2.dilate(lines, np.ones((3, 3), np.uint8)), mask)
    rest = _rejoin(mask - line, mask, thickness=2 + int(line.sum() / count / mask.shape[1]))
    if count > 1:
        rest = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    return rest if rest.sum() > MIN_REST * mask.sum() else mask


def _select_lines(runs: MatLike) -> tuple[MatLike, int]:
    """Return the runs that together form thin lines from side to side, and the number of lines."""
    cell = max(1, max(runs.shape) // GRID)
    height, width = (max(1, side // cell) for side in runs.shape)
    cells = cv2.resize(runs * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA)
    cells = cv2.dilate((cells > 0).astype(np.uint8), np.ones((1, 5), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(cells)
    spans, areas = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_AREA]
    across = (spans >= MIN_SPAN * width) & (areas <= spans * max(3.0, MAX_THICKNESS * height))
    across[0] = False
    selected = across.astype(np.uint8)[labels]
    found = cv2.resize(selected, runs.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return cv2.bitwise_and(found, runs), int(across.sum())


def _rejoin(rest: MatLike, mask: MatLike, thickness: int) -> MatLike:
    """Close the gaps that the lines left in strokes, adding only pixels that were there before."""
    bridge = np.ones((thickness + 2, 1), np.uint8)
    closed = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, bridge)
    return cv2.bitwise_or(rest, cv2.bitwise_and(closed, mask))
