"""Lines of text: pieces of ink in reading order, also on a slanted baseline."""

from statistics import median
from typing import Final, NamedTuple

from app.image.segmentation.pieces import Piece

# Of the typical height on the sheet. A lower piece is a part of a digit, a dot or dirt.
MIN_HEIGHT: Final = 0.45
# A small piece joins a line if it is at most this far, in heights of the line, from a digit in it.
REACH: Final = 0.3
# Neighbours in a line share at least this part of the lower one's height.
OVERLAP: Final = 0.35


class Line(NamedTuple):
    """A line's pieces from left to right, and the usual height of its digits, in pixels."""

    pieces: list[Piece]
    height: float


def find_lines(pieces: list[Piece]) -> list[Line]:
    """Return the lines from top to bottom."""
    typical = _typical_height(pieces)
    large = [piece for piece in pieces if piece.height >= MIN_HEIGHT * typical]
    rows: list[list[Piece]] = []
    for piece in sorted(large, key=_middle):
        row = max(rows, key=lambda row: _shared(row, piece), default=None)
        if row is None or _shared(row, piece) < OVERLAP:
            rows.append([piece])
        else:
            row.append(piece)
    lines = [Line(row, median(piece.height for piece in row)) for row in rows]
    for piece in pieces:
        if piece.height < MIN_HEIGHT * typical:
            _attach(piece, lines)
    for line in lines:
        line.pieces.sort(key=_middle)
    return sorted(lines, key=lambda line: median(p.box.top + p.box.bottom for p in line.pieces))


def _typical_height(pieces: list[Piece]) -> float:
    """Return the height that half of the ink belongs to pieces of, or higher ones."""
    total, weight = sum(piece.pixels for piece in pieces), 0
    for piece in sorted(pieces, key=lambda piece: piece.height):
        weight += piece.pixels
        if 2 * weight >= total:
            return piece.height
    raise AssertionError("half of the ink is reached")


def _middle(piece: Piece) -> int:
    return piece.box.left + piece.box.right


def _shared(row: list[Piece], piece: Piece) -> float:
    """Return how much of its height a piece shares with the last piece of a row."""
    last = row[-1]
    shared = min(last.box.bottom, piece.box.bottom) - max(last.box.top, piece.box.top)
    return shared / min(last.height, piece.height)


def _attach(piece: Piece, lines: list[Line]) -> None:
    """Add a small piece to the line with the nearest digit, if that is near enough."""
    distances = [
        (min(near.box.gap(piece.box) for near in line.pieces) / line.height, number)
        for number, line in enumerate(lines)
    ]
    distance, number = min(distances)
    if distance <= REACH:
        lines[number].pieces.append(piece)
