"""Connected components: separates the digit from specks, frames, and ink that the border cuts."""

from typing import Final, NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

# Components are found on a coarse grid, which is fast and joins strokes that a pen left broken.
GRID: Final = 128
SPECK: Final = 0.04
# A piece belongs to the digit if the gap between them is at most this share of the digit's size.
GAP: Final = 0.2


class Box(NamedTuple):
    left: int
    top: int
    right: int
    bottom: int

    def gap(self, other: "Box") -> int:
        across = max(other.left - self.right, self.left - other.right)
        return max(across, other.top - self.bottom, self.top - other.bottom)

    def union(self, other: "Box") -> "Box":
        lowest = map(min, self[:2], other[:2])
        highest = map(max, self[2:], other[2:])
        return Box(*lowest, *highest)


def keep_digit(mask: MatLike, amount: MatLike) -> MatLike | None:
    """Return the mask of the heaviest piece near the middle and its larger neighbours, or None."""
    cells, weights = _to_grid(mask, amount)
    # Cells one apart belong to the same stroke, broken by a dry pen.
    near = cv2.dilate(cells, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(near)
    labels = labels * cells
    masses = np.bincount(labels.ravel(), weights.ravel(), count).astype(np.float64)
    masses[0] = 0
    boxes = [Box(x, y, x + w, y + h) for x, y, w, h, _ in stats.tolist()]
    for piece in np.flatnonzero(masses):
        if _is_frame(labels == piece, boxes[piece]):
            masses[piece] = 0
    if not masses.any():
        return None
    selected = np.zeros(count, np.uint8)
    selected[_group(masses, boxes, cells.shape)] = 1
    chosen = cv2.dilate(selected[labels], np.ones((3, 3), np.uint8))
    whole = cv2.resize(chosen, mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return cv2.bitwise_and(whole, mask)


def _to_grid(mask: MatLike, amount: MatLike) -> tuple[MatLike, MatLike]:
    ratio = min(1.0, GRID / max(mask.shape))
    height, width = (max(1, round(side * ratio)) for side in mask.shape)
    share = cv2.resize(mask * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA)
    inked = cv2.multiply(mask, amount)
    weights = cv2.resize(inked, (width, height), interpolation=cv2.INTER_AREA)
    return (share > 0).astype(np.uint8), weights


def _is_frame(piece: MatLike, box: Box) -> bool:
    """Return whether a piece is large, covers all four sides of its box, and is empty inside.

    A 0 is round, and so covers less of its sides.
    """
    rows, columns = piece.shape
    width, height = box.right - box.left, box.bottom - box.top
    if width < 0.6 * columns or height < 0.6 * rows:
        return False
    part = piece[box.top : box.bottom, box.left : box.right]
    x, y = max(2, width // 12), max(2, height // 12)
    sides = (part[:y].any(0), part[-y:].any(0), part[:, :x].any(1), part[:, -x:].any(1))
    inside = part[y : height - y, x : width - x]
    return bool(min(side.mean() for side in sides) > 0.9 and inside.sum() < 0.05 * part.sum())


def _group(masses: NDArray[np.float64], boxes: list[Box], shape: tuple[int, ...]) -> list[int]:
    scores = [mass * _position_weight(box, shape) for mass, box in zip(masses, boxes, strict=True)]
    best = int(np.argmax(scores))
    whole = boxes[best]
    reach = GAP * max(whole.right - whole.left, whole.bottom - whole.top)
    selected, others = [best], [int(i) for i in np.flatnonzero(masses >= SPECK * masses[best])]
    others.remove(best)
    # Each piece that joins may bring another one within reach.
    while joining := [piece for piece in others if whole.gap(boxes[piece]) <= reach]:
        for piece in joining:
            whole = whole.union(boxes[piece])
            others.remove(piece)
        selected += joining
    return selected


def _position_weight(box: Box, shape: tuple[int, ...]) -> float:
    """Return a lower weight for pieces at the edge: shadows lie there, the digit seldom does."""
    rows, columns = shape
    offset = max(
        abs((box.left + box.right) / columns - 1), abs((box.top + box.bottom) / rows - 1)
    )  # 0 in the middle, 1 at the border
    cut = box.left <= 0 or box.top <= 0 or box.right >= columns or box.bottom >= rows
    return (0.6 if cut else 1.0) * (1 - 0.4 * offset)
