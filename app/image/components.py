"""Connected components: the one digit of an image, and how many others were left out."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from app.image.segmentation.box import Box
from app.image.segmentation.surroundings import is_underline, touches_border

# Components are found on a coarse grid, which is fast and joins strokes that a pen left broken.
GRID: Final = 128
SPECK: Final = 0.04
# A piece belongs to the digit if the gap between them is at most this share of the digit's size.
GAP: Final = 0.2

# What the border cuts off a neighbour has less than this share of the digit's ink. More than that
# is a part of a digit that reaches the border.
MAX_FOOT_INK: Final = 0.6
# Another digit has at least this share of the digit's height, and of its ink.
MIN_OTHER_HEIGHT: Final = 0.55
MIN_OTHER_INK: Final = 0.15
# Two digits in a row share at most this part of the narrower one's width, and at least this part of
# the higher one's height; in a column the other way round.
MAX_SHARED: Final = 0.2
MIN_SHARED: Final = 0.6
# The halves of a broken 8 or 0 are lower than they are wide, and those of a broken 1 are strokes.
MIN_HEIGHT_IN_COLUMN: Final = 1.15
MIN_WIDTH_IN_COLUMN: Final = 0.3


class DigitMask(NamedTuple):
    """The mask of one digit, (H, W) uint8, and the number of digits in the image."""

    mask: MatLike
    digits: int


@dataclass(frozen=True, slots=True)
class Pieces:
    """The components on the grid: labels, and box and ink of each; 0 is the background."""

    labels: NDArray[np.int32]
    boxes: list[Box]
    ink: NDArray[np.float64]


def keep_digit(mask: MatLike, amount: MatLike) -> DigitMask | None:
    """Return the heaviest piece near the middle with its larger neighbours, or None."""
    pieces = _find(mask, amount)
    if not pieces.ink.any():
        return None
    group = _group(pieces, _heaviest(pieces))
    selected = np.zeros(len(pieces.ink), np.uint8)
    selected[group] = 1
    chosen = cv2.dilate(selected[pieces.labels], np.ones((3, 3), np.uint8))
    whole = cv2.resize(chosen, mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return DigitMask(cv2.bitwise_and(whole, mask), 1 + _count_others(pieces, group))


def _find(mask: MatLike, amount: MatLike) -> Pieces:
    cells, weights = _to_grid(mask, amount)
    # Cells one apart belong to the same stroke, broken by a dry pen.
    near = cv2.dilate(cells, np.ones((3, 3), np.uint8))
    count, groups, stats, _ = cv2.connectedComponentsWithStats(near)
    labels = np.asarray(groups * cells, np.int32)
    ink = np.bincount(labels.ravel(), weights.ravel(), count).astype(np.float64)
    ink[0] = 0
    boxes = [Box(x, y, x + w, y + h) for x, y, w, h, _ in stats.tolist()]
    return Pieces(labels, boxes, ink)


def _to_grid(mask: MatLike, amount: MatLike) -> tuple[MatLike, MatLike]:
    ratio = min(1.0, GRID / max(mask.shape))
    height, width = (max(1, round(side * ratio)) for side in mask.shape)
    share = cv2.resize(mask * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA)
    inked = cv2.multiply(mask, amount)
    weights = cv2.resize(inked, (width, height), interpolation=cv2.INTER_AREA)
    return (share > 0).astype(np.uint8), weights


def _heaviest(pieces: Pieces) -> int:
    scores = [
        ink * _position_weight(box, pieces.labels.shape)
        for ink, box in zip(pieces.ink, pieces.boxes, strict=True)
    ]
    return int(np.argmax(scores))


def _group(pieces: Pieces, best: int) -> list[int]:
    """Return the pieces of the digit to which a piece belongs."""
    shape = pieces.labels.shape
    is_whole = not touches_border(pieces.boxes[best], shape)
    foot = MAX_FOOT_INK * pieces.ink[best]
    others = [
        int(piece)
        for piece in np.flatnonzero(pieces.ink >= SPECK * pieces.ink[best])
        if piece != best
        and not (
            is_whole and pieces.ink[piece] < foot and touches_border(pieces.boxes[piece], shape)
        )
    ]
    group, whole = [best], pieces.boxes[best]
    reach = GAP * max(whole.width, whole.height)
    # Each piece that joins may bring another one within reach.
    while joining := [n for n in others if _belongs(pieces.boxes[n], whole, reach)]:
        for piece in joining:
            whole = whole.union(pieces.boxes[piece])
            others.remove(piece)
        group += joining
    return group


def _belongs(piece: Box, digit: Box, reach: float) -> bool:
    near = digit.gap(piece) <= reach
    return near and not (is_underline(piece, digit) or _are_two_digits(piece, digit))


def _are_two_digits(first: Box, second: Box) -> bool:
    """Return whether two pieces stand side by side, or one over the other, as two digits do."""
    wide, high = first.shared_width(second), first.shared_height(second)
    narrower = min(first.width, second.width)
    lower, higher = sorted((first.height, second.height))
    in_row = wide <= MAX_SHARED * narrower and high >= MIN_SHARED * higher
    in_column = (
        high <= MAX_SHARED * lower
        and wide >= MIN_SHARED * narrower
        and lower >= MIN_HEIGHT_IN_COLUMN * first.union(second).width
        and all(box.width >= MIN_WIDTH_IN_COLUMN * box.height for box in (first, second))
    )
    return in_row or in_column


def _count_others(pieces: Pieces, group: list[int]) -> int:
    """Return the number of digits beside the one that is a group of pieces."""
    digit = pieces.boxes[group[0]]
    for piece in group[1:]:
        digit = digit.union(pieces.boxes[piece])
    ink = float(pieces.ink[group].sum())
    rest = Pieces(pieces.labels, pieces.boxes, pieces.ink.copy())
    rest.ink[group] = 0
    count = 0
    while rest.ink.any():
        best = int(np.argmax(rest.ink))
        other = _group(rest, best)
        box = rest.boxes[best]
        for piece in other[1:]:
            box = box.union(rest.boxes[piece])
        is_whole = not touches_border(box, rest.labels.shape)
        heavy = float(rest.ink[other].sum()) >= MIN_OTHER_INK * ink
        high = box.height >= MIN_OTHER_HEIGHT * digit.height
        count += is_whole and heavy and high and not is_underline(box, digit)
        if not heavy:
            break
        rest.ink[other] = 0
    return count


def _position_weight(box: Box, shape: tuple[int, ...]) -> float:
    """Return a lower weight for pieces at the edge: shadows lie there, the digit seldom does."""
    rows, columns = shape
    offset = max(
        abs((box.left + box.right) / columns - 1), abs((box.top + box.bottom) / rows - 1)
    )  # 0 in the middle, 1 at the border
    return (0.6 if touches_border(box, shape) else 1.0) * (1 - 0.4 * offset)
