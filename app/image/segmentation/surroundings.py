"""What surrounds a digit and is no part of it: a frame, a line below it, its neighbours.

Each measure is a share from 0 to 1 that falls gradually, so that no pixel more or less decides.
"""

from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike

from app.image.segmentation.box import Box

# Frames are found on a coarse grid.
GRID: Final = 192
# Sides of the smallest frame, in cells, and the greatest share of ink in its box.
MIN_FRAME: Final = 10
MAX_FRAME_INK: Final = 0.5
# A piece that is more probably a frame than this is one.
MAX_FRAME: Final = 0.5
# A frame is this large a share of the image if nothing is in it. Otherwise its content has this
# share of its height, or of its width in all.
EMPTY_FRAME: Final = 0.6
MIN_CONTENT: Final = 0.3
# Anything smaller inside is a speck.
MIN_CONTENT_HEIGHT: Final = 0.05
MIN_CONTENT_WIDTH: Final = 0.12
# Its ink lies at the edge of its box. A 0 is as empty, and round, so it covers less of the sides.
MAX_INSIDE: Final = 0.05
MIN_SIDE_COVER: Final = 0.9
# A straight stroke in a ring that leans by more than this is the slash of a 0. Of MNIST's test
# images of a 1, 6 % lean so much.
MIN_SLASH_LEAN: Final = 35.0  # degrees from the vertical
MAX_SLASH_WIDTH: Final = 0.35  # of its length


def soft_step(value: float, middle: float, width: float) -> float:
    """Return 0 below `middle` - `width`, 1 above `middle` + `width`, and a ramp between them."""
    return float(min(1.0, max(0.0, (value - middle) / (2 * width) + 0.5)))


def drop_frames(mask: MatLike) -> MatLike:
    """Return a mask, (H, W) uint8 of 0 and 1, without frames and circles around something."""
    ratio = min(1.0, GRID / max(mask.shape))
    height, width = (max(1, round(side * ratio)) for side in mask.shape)
    share = cv2.resize(mask * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((share > 0).astype(np.uint8))
    boxes = [Box(x, y, x + w, y + h) for x, y, w, h, _ in stats.tolist()]
    frames = np.zeros(count, np.uint8)
    for piece in range(1, count):
        box, cells = boxes[piece], int(stats[piece, cv2.CC_STAT_AREA])
        if min(box.width, box.height) < MIN_FRAME or cells > MAX_FRAME_INK * box.width * box.height:
            continue
        others = [
            boxes[other]
            for other in range(1, count)
            if other != piece and not _is_slash(labels, other, boxes[other], box)
        ]
        frames[piece] = frame_weight(labels == piece, box, others) > MAX_FRAME
    if not frames.any():
        return mask
    erased = cv2.resize(frames[labels], mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return cv2.bitwise_and(mask, 1 - erased)


def _is_inside(frame: Box, inner: Box) -> bool:
    """Return whether a box lies in a frame, and is higher than a speck."""
    return frame.contains(inner) and inner.height >= MIN_CONTENT_HEIGHT * frame.height


def _is_slash(labels: MatLike, piece: int, box: Box, frame: Box) -> bool:
    """Return whether a labelled piece is a straight stroke in a frame that leans more than a 1."""
    if not _is_inside(frame, box):
        return False
    stroke = (labels[box.top : box.bottom, box.left : box.right] == piece).astype(np.uint8)
    moments = cv2.moments(stroke, binaryImage=True)
    spread = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]])
    (narrow, long), axes = np.linalg.eigh(spread)
    lean = np.degrees(np.arctan2(abs(axes[0, 1]), abs(axes[1, 1])))
    return bool(lean > MIN_SLASH_LEAN and narrow < MAX_SLASH_WIDTH**2 * long)


def frame_weight(piece: MatLike, box: Box, others: list[Box]) -> float:
    """Return how sure it is that a piece, (H, W) bool, is a frame or a circle around something."""
    inside = [other for other in others if _encloses(piece, box, other)]
    high = max((other.height for other in inside), default=0) / box.height
    wide = sum(other.width for other in inside) / box.width
    encloses = soft_step(max(high, wide), MIN_CONTENT, 0.08)
    if encloses == 1.0:
        return 1.0
    return max(encloses, _empty_frame_weight(piece, box))


def _encloses(piece: MatLike, frame: Box, inner: Box) -> bool:
    """Return whether a piece surrounds something that is more than a stroke or a speck.

    Its ink lies on all four sides of it: an open 4 has no ink above its second stroke.
    """
    if not _is_inside(frame, inner) or inner.width < MIN_CONTENT_WIDTH * inner.height:
        return False
    row, column = (inner.top + inner.bottom) // 2, (inner.left + inner.right) // 2
    across, down = piece[row], piece[:, column]
    sides = across[: inner.left], across[inner.right :], down[: inner.top], down[inner.bottom :]
    return all(bool(side.any()) for side in sides)


def _empty_frame_weight(piece: MatLike, box: Box) -> float:
    rows, columns = piece.shape
    size = soft_step(min(box.width / columns, box.height / rows), EMPTY_FRAME, 0.08)
    if not size:
        return 0.0
    part = piece[box.top : box.bottom, box.left : box.right]
    x, y = max(2, box.width // 12), max(2, box.height // 12)
    sides = (part[:y].any(0), part[-y:].any(0), part[:, :x].any(1), part[:, -x:].any(1))
    inside = part[y : box.height - y, x : box.width - x]
    covered = soft_step(min(float(side.mean()) for side in sides), MIN_SIDE_COVER, 0.05)
    empty = 1 - soft_step(float(inside.sum()) / max(1, float(part.sum())), MAX_INSIDE, 0.02)
    return size * covered * empty


def is_underline(line: Box, digit: Box) -> bool:
    """Return whether a flat piece is a line under a digit or over it.

    The bar of a 5 lies over a part of it only, and the foot of a 1 is shorter than the 1 is high.
    """
    flat = line.height <= 0.2 * line.width
    apart = line.top >= digit.bottom or line.bottom <= digit.top
    long = line.width >= 0.7 * max(digit.width, digit.height)
    reach = 0.1 * digit.width
    spans = line.left <= digit.left - reach and line.right >= digit.right + reach
    return flat and apart and long and spans


def touches_border(box: Box, shape: tuple[int, ...]) -> bool:
    """Return whether a box reaches the border of the image, which may cut it off."""
    rows, columns = shape
    return box.left <= 0 or box.top <= 0 or box.right >= columns or box.bottom >= rows
