"""Segmentation graph: every way to cut a line of ink into candidates for digits.

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, Proc. IEEE
86(11), 1998, section VII. The nodes are cuts from left to right: the gaps between pieces, and seams
through pieces. A candidate is the ink between two cuts, in MNIST's form.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from app.image.fit import stretch, to_mnist
from app.image.segmentation.box import Box
from app.image.segmentation.lines import Line
from app.image.segmentation.pieces import Piece, Sheet
from app.image.segmentation.seams import find_seams

# In heights of the line. A digit is at most so wide, and at least so high; a gap in it is no wider.
MAX_WIDTH: Final = 1.7
MIN_HEIGHT: Final = 0.35
MAX_GAP: Final = 0.3
# A piece narrower than this holds one digit.
MIN_CUT_WIDTH: Final = 0.45
# More pieces than this are no broken digit.
MAX_PIECES: Final = 4
MARGIN: Final = 2


class Cut(NamedTuple):
    """A node: left of a piece, or a seam through it. `piece` is its number in the line."""

    piece: int
    columns: NDArray[np.intp] | None  # per row of the piece's box, from its left edge
    crossed: float = 0.0  # ink, in heights of the line
    runs: int = 0  # strokes


class Candidate(NamedTuple):
    """The ink from one cut to another as one digit; sizes in heights of the line."""

    first: int
    last: int
    box: Box
    width: float
    height: float
    gap: float  # the widest between its pieces


class Graph(NamedTuple):
    """A line's segmentation graph.

    Its nodes are the cuts and the end of the line. `skippable[n]` says that what lies between the
    nodes n and n + 1 is too small for a digit. `pixels` has (n, 28, 28) of the n candidates.
    """

    cuts: list[Cut]
    skippable: list[bool]
    candidates: list[Candidate]
    pixels: NDArray[np.uint8]


def build_graph(sheet: Sheet, line: Line) -> Graph:
    """Return the segmentation graph of a line."""
    masks = [_mask_of(sheet, piece) for piece in line.pieces]
    cuts = _find_cuts(line, masks)
    small = [line.pieces[cut.piece].height < MIN_HEIGHT * line.height for cut in cuts]
    maker = _CandidateMaker(sheet, line, masks, [*cuts, Cut(len(masks), None)])
    found = [pair for first in range(len(cuts)) for pair in maker.from_node(first)]
    pixels = np.stack([image for _, image in found]) if found else np.zeros((0, 28, 28), np.uint8)
    return Graph(cuts, small, [candidate for candidate, _ in found], pixels)


def _find_cuts(line: Line, masks: list[MatLike]) -> list[Cut]:
    wide = [n for n, piece in enumerate(line.pieces) if piece.width >= MIN_CUT_WIDTH * line.height]
    seams = dict(zip(wide, find_seams([masks[n] for n in wide], line.height), strict=True))
    cuts: list[Cut] = []
    for number in range(len(masks)):
        cuts.append(Cut(number, None))
        cuts += [Cut(number, *seam) for seam in seams.get(number, ())]
    return cuts


def _mask_of(sheet: Sheet, piece: Piece) -> MatLike:
    left, top, right, bottom = piece.box
    mask: NDArray[np.uint8] = sheet.labels[top:bottom, left:right] == piece.label
    return mask.astype(np.uint8)


class _CandidateMaker:
    """Cuts candidates out of one line. The last of the `cuts` is the end of the line."""

    def __init__(self, sheet: Sheet, line: Line, masks: list[MatLike], cuts: list[Cut]) -> None:
        self.sheet, self.line, self.masks, self.cuts = sheet, line, masks, cuts

    def from_node(self, first: int) -> Iterator[tuple[Candidate, NDArray[np.uint8]]]:
        """Yield the candidates that begin at a node, narrow ones first, with their pixels."""
        for last in range(first + 1, len(self.cuts)):
            start, end = self.cuts[first], self.cuts[last]
            numbers = range(start.piece, end.piece + (end.columns is not None))
            if len(numbers) > MAX_PIECES:
                return
            parts = [(self.line.pieces[n].box, self._part(n, start, end)) for n in numbers]
            candidate = self._measure(first, last, parts)
            if candidate.width > MAX_WIDTH or candidate.gap > MAX_GAP:
                return
            if candidate.height >= MIN_HEIGHT:
                pixels = self._normalise(parts, candidate.box)
                if pixels is not None:
                    yield candidate, pixels

    def _measure(self, first: int, last: int, parts: list[tuple[Box, MatLike]]) -> Candidate:
        boxes = []
        for place, mask in parts:
            x, y, width, height = cv2.boundingRect(mask)
            left, top = place.left + x, place.top + y
            boxes.append(Box(left, top, left + width, top + height))
        whole, gap = boxes[0], 0
        for box in boxes[1:]:
            gap, whole = max(gap, whole.gap(box)), whole.union(box)
        sizes = whole.right - whole.left, whole.bottom - whole.top, gap
        return Candidate(first, last, whole, *(size / self.line.height for size in sizes))

    def _part(self, number: int, start: Cut, end: Cut) -> MatLike:
        """Return the mask of one piece between two cuts."""
        mask = self.masks[number]
        columns = np.arange(mask.shape[1])
        if number == start.piece and start.columns is not None:
            mask = mask * (columns >= start.columns[:, None])
        if number == end.piece and end.columns is not None:
            mask = mask * (columns < end.columns[:, None])
        return mask.astype(np.uint8, copy=False)

    def _normalise(self, parts: list[tuple[Box, MatLike]], box: Box) -> NDArray[np.uint8] | None:
        """Return the parts in MNIST's form, without the ink of their neighbours."""
        height, width = self.sheet.amount.shape
        area = Box(
            max(0, box.left - MARGIN), max(0, box.top - MARGIN),
            min(width, box.right + MARGIN), min(height, box.bottom + MARGIN),
        )  # fmt: skip
        rows, columns = slice(area.top, area.bottom), slice(area.left, area.right)
        own = np.zeros((area.bottom - area.top, area.right - area.left), np.uint8)
        for place, mask in parts:
            _paste(own, mask, place.left - area.left, place.top - area.top)
        other = (self.sheet.labels[rows, columns] > 0).astype(np.uint8) - own
        kernel = np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)
        soft = cv2.bitwise_and(cv2.dilate(own, kernel), 1 - other)
        level, full, _ = self.sheet.threshold
        cut = cv2.multiply(self.sheet.amount[rows, columns], soft)
        ink = stretch(cut, 0.6 * level, min(full, 1.4 * level))
        return to_mnist(ink)[0] if ink.max() > 127 else None


def _paste(target: MatLike, mask: MatLike, left: int, top: int) -> None:
    """Add a mask to a target whose edges it may cross."""
    height, width = mask.shape
    rows, columns = (max(0, -top), max(0, -left))
    part = mask[rows : target.shape[0] - top, columns : target.shape[1] - left]
    place = target[top + rows : top + height, left + columns : left + width]
    np.maximum(place, part, out=place)
