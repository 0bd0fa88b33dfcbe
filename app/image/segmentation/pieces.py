"""Pieces of ink: the connected components of an image, without frames, ruled lines and dirt."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from app.image.ink import SMALL_SIDE, find_ink
from app.image.ruled_lines import drop_lines
from app.image.segmentation.box import Box
from app.image.segmentation.surroundings import drop_frames, is_underline, touches_border
from app.image.stroke import has_stroke_edges
from app.image.threshold import Threshold, find_threshold

# A piece with less than this share of the tallest piece's height, or fewer pixels, is dirt.
SPECK: Final = 0.08
MIN_PIXELS: Final = 4
# Pieces that the border cuts are dropped if a whole one has this share of the greatest height.
MIN_WHOLE: Final = 0.4
# An underline is flatter than this.
MAX_FLAT: Final = 0.2


class Piece(NamedTuple):
    """A connected component: its label, box and number of pixels."""

    label: int
    box: Box
    pixels: int

    @property
    def width(self) -> int:
        return self.box.width

    @property
    def height(self) -> int:
        return self.box.height


@dataclass(frozen=True, slots=True)
class Sheet:
    """The ink of an image, and its pieces."""

    amount: MatLike  # (H, W) uint8
    threshold: Threshold
    labels: NDArray[np.int32]  # (H, W); 0 is paper
    pieces: list[Piece]


def find_pieces(grey: NDArray[np.uint8]) -> Sheet | None:
    """Return the pieces of ink in an image, or None if there is no ink, or only noise."""
    ink = find_ink(grey)
    if ink is None:
        return None
    small = max(grey.shape) < SMALL_SIDE
    smooth = ink.amount if small else cv2.GaussianBlur(ink.amount, (3, 3), 0)
    threshold = find_threshold(smooth)
    if threshold is None:
        return None
    mask = (smooth >= threshold.level).astype(np.uint8)
    if not small:
        faint = (smooth >= threshold.faint).astype(np.uint8)
        mask = np.asarray(drop_lines(drop_frames(mask), faint), np.uint8)
        if not has_stroke_edges(mask, smooth, threshold, ink.uneven):
            return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    pieces = [
        Piece(label, Box(x, y, x + w, y + h), pixels)
        for label, (x, y, w, h, pixels) in enumerate(stats.tolist())
        if label and pixels >= MIN_PIXELS
    ]
    pieces = _drop_surroundings(pieces, mask.shape)
    return Sheet(smooth, threshold, np.asarray(labels, np.int32), pieces) if pieces else None


def _drop_surroundings(pieces: list[Piece], shape: tuple[int, ...]) -> list[Piece]:
    """Return the pieces without dirt, underlines, and what the border cuts off."""
    pieces = _drop_dirt(pieces)
    whole = [piece for piece in pieces if not touches_border(piece.box, shape)]
    if whole and max(p.height for p in whole) >= MIN_WHOLE * max(p.height for p in pieces):
        pieces = whole
    tall = [piece.box for piece in pieces if piece.height > MAX_FLAT * piece.width]
    return [piece for piece in pieces if not _is_underline(piece, tall)]


def _drop_dirt(pieces: list[Piece]) -> list[Piece]:
    tallest = max((max(piece.height, piece.width) for piece in pieces), default=0)
    return [piece for piece in pieces if max(piece.height, piece.width) >= SPECK * tallest]


def _is_underline(piece: Piece, tall: list[Box]) -> bool:
    """Return whether a piece is a line under or over digits: flat, and as wide as what it marks."""
    if piece.height > MAX_FLAT * piece.width:
        return False
    marked = [box for box in tall if box.shared_width(piece.box) > 0.5 * box.width]
    return any(is_underline(piece.box, box) for box in marked)
