"""Remove the lines of ruled and squared paper from a mask of ink.

Only thin lines from border to border are removed; strokes that cross them stay intact. Empty paper
leaves nothing: what remains of its lines is no ink.
"""

from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike

from app.image.segmentation.level_lines import Kind, Profile, profile_rows, to_cells

# A line spans nearly the whole sheet; the bar of a digit hardly ever does.
LONE: Final = Kind(cover=0.85, ends=0, thickness=0.03, room=0.5)
FULL: Final = LONE._replace(ends=2)
# Lines in both directions may be thicker.
THICK: Final = FULL._replace(thickness=0.08)
# One that fades away from the light.
FADED: Final = Kind(cover=0.5, ends=1, thickness=0.03, room=0.5)
# On ruled paper, anything as long as this is a line.
RULED: Final = Kind(cover=0.5, ends=1, thickness=0.08, room=0.0)
# With gaps by noise, a line has ink in at least this share of the columns.
MIN_INKED: Final = 0.7
# A lone line so near the border, as a share of the sheet, may be the foot of a 1.
FOOT: Final = 0.1

# If less than this is left, a lone line was the digit.
MIN_REST: Final = 0.08
# So little may be what is left of the lines.
SMALL_REST: Final = 0.03
# What lies on faint lines except for this share is a part of them.
MAX_OFF_LINES: Final = 0.25
# A digit is one or two pieces. The largest has more than this share of the ink.
MAX_LARGEST: Final = 0.6
# A stroke of so many widths of a line is none.
THICK_STROKE: Final = 1.6
# Ends of lines, which the border cuts off: so near the border, and so thin.
NEAR_BORDER: Final = 1 / 16
STUB: Final = 0.08


def drop_lines(mask: MatLike, faint: MatLike) -> MatLike:
    """Return an (H, W) uint8 mask of 0 and 1 without horizontal and vertical lines.

    `faint` also has what is too faint for ink: of empty paper, the ink itself may be no more than
    the crossings of its lines.
    """
    rest = _drop_lines(mask)
    if not (_is_scattered(rest) or rest.sum() <= SMALL_REST * mask.sum()):
        return rest
    rows, columns = _profiles(faint)
    if not _is_ruled(rows, columns):
        return rest
    off_lines = _mask_lines(rest, rows, columns)
    return rest if off_lines.sum() > MAX_OFF_LINES * rest.sum() else np.zeros_like(mask)


def _drop_lines(mask: MatLike) -> MatLike:
    if not any(_reaches_across(mask, axis) for axis in (0, 1)):
        return mask
    rows, columns = _profiles(mask)
    is_ruled = _is_ruled(rows, columns)
    if is_ruled or (_has_inner_line(rows) and _has_inner_line(columns)):
        rest = _drop_stubs(_erase_all(mask, rows, columns))
        if is_ruled or rest.sum() <= MIN_REST * mask.sum():
            return rest
    rest = _erase_lone(mask, rows)
    return cv2.transpose(_erase_lone(cv2.transpose(rest), columns))


def _reaches_across(mask: MatLike, axis: int) -> bool:
    """Return whether as many columns (axis 0) or rows (1) have ink as a line needs."""
    inked = cv2.countNonZero(cv2.reduce(mask, axis, cv2.REDUCE_MAX))
    return bool(inked >= MIN_INKED * mask.shape[1 - axis])


def _profiles(mask: MatLike) -> tuple[Profile, Profile]:
    return profile_rows(mask), profile_rows(cv2.transpose(mask))


def _is_ruled(rows: Profile, columns: Profile) -> bool:
    """Return whether the lines are those of paper. Upright ones alone may be an 11."""
    full, faded = len(rows.find(FULL)), len(columns.find(FADED))
    thick = len(rows.find(THICK)), len(columns.find(THICK))
    return full > 1 or (full == 1 and faded > 1) or (min(thick) > 0 and sum(thick) > 2)


def _has_inner_line(profile: Profile) -> bool:
    count = len(profile.cover)
    middles = [(line.start + line.stop) / (2 * count) for line in profile.find(FULL)]
    return any(FOOT < middle < 1 - FOOT for middle in middles)


def _is_scattered(mask: MatLike) -> bool:
    """Return whether the ink is in more pieces than a digit has, and no piece has most of it."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(to_cells(mask))
    areas = stats[1:, cv2.CC_STAT_AREA]
    return len(areas) > 2 and bool(areas.max() <= MAX_LARGEST * areas.sum())


def _mask_lines(mask: MatLike, rows: Profile, columns: Profile) -> MatLike:
    """Return the mask without all that is on lines or within two pixels of them."""
    on_rows = rows.pixels(rows.find(RULED), reach=2)
    on_columns = cv2.transpose(columns.pixels(columns.find(RULED), reach=2))
    return cv2.bitwise_and(mask, 1 - cv2.bitwise_or(on_rows, on_columns))


def _erase_all(mask: MatLike, rows: Profile, columns: Profile) -> MatLike:
    rest = _erase(mask, rows, rows.find(RULED))
    return cv2.transpose(_erase(cv2.transpose(rest), columns, columns.find(RULED)))


def _erase_lone(mask: MatLike, profile: Profile) -> MatLike:
    rest = _erase(mask, profile, profile.find(LONE))
    return rest if rest.sum() > MIN_REST * mask.sum() else mask


def _erase(mask: MatLike, profile: Profile, lines: list[slice]) -> MatLike:
    if not lines:
        return mask
    line = cv2.bitwise_and(profile.pixels(lines, reach=1), mask)
    width = line.sum() / len(lines) / mask.shape[1]
    # A stroke along a line stays: the pen is thicker.
    side = 2 + int(THICK_STROKE * width)
    stroke = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    line = cv2.bitwise_and(line, 1 - stroke)
    rest = _rejoin(mask - line, mask, thickness=2 + int(width))
    if len(lines) > 1:
        rest = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    return rest


def _rejoin(rest: MatLike, mask: MatLike, thickness: int) -> MatLike:
    """Close the gaps that the lines left in strokes, adding only pixels that were there before."""
    bridge = np.ones((thickness + 2, 1), np.uint8)
    closed = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, bridge)
    return cv2.bitwise_or(rest, cv2.bitwise_and(closed, mask))


def _drop_stubs(mask: MatLike) -> MatLike:
    """Return the mask without thin pieces at the border: ends of lines that were not found."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    left, top, width, height = stats[:, :4].T
    rows, columns = mask.shape
    side = min(mask.shape)
    near = int(side * NEAR_BORDER)
    at_border = (
        (left <= near)
        | (top <= near)
        | (left + width >= columns - near)
        | (top + height >= rows - near)
    )
    stub = at_border & (np.minimum(width, height) < STUB * side)
    return cv2.bitwise_and(mask, 1 - stub[labels].astype(np.uint8))
