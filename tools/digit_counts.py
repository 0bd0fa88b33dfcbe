"""`python -m tools.digit_counts`: how often one digit counts as several, and several as one.

One digit: MNIST's test digits whose strokes light has broken: a bright band of a random width and
direction crosses each. Two digits: pairs of MNIST's test digits at all gaps, from the least that
separates them to a digit's width, in a row or in a column.
"""

import argparse
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from app.errors import BlankImage
from app.image.normalise import normalise
from app.mnist.files import read_test_images
from tests.conftest import DATA
from tools.digit_strings import INK, SIDE, Pixels, put_on_paper

SCALE: Final = 5
# Width of the band, in pixels of the 28×28 image. MNIST's strokes are 2 to 4 wide.
BANDS: Final = (0.5, 1.0, 1.5, 2.0, 3.0)
# Gaps between the boxes of two digits, in the same pixels.
GAPS: Final = (0.5, 1, 2, 3, 5, 8, 14)


def main() -> None:
    """Print the share of pictures of each kind that are counted wrongly."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=500, help="pictures of each kind")
    parser.add_argument("--seed", type=int, default=1998)
    arguments = parser.parse_args()
    digits = read_test_images(DATA).pixels
    for band in BANDS:
        random = np.random.default_rng(arguments.seed)
        counts = list(_counts(_broken(digits, band, arguments.count, random), random))
        print(f"broken by a band of {band}: {_share(c > 1 for c in counts)} count as several")
    for is_column in (False, True):
        for gap in GAPS:
            random = np.random.default_rng(arguments.seed)
            pairs = _pairs(digits, gap, is_column, arguments.count, random)
            wrong = _share(c == 1 for c in _counts(pairs, random))
            kind = "column" if is_column else "row"
            print(f"two in a {kind}, {gap} apart: {wrong} count as one", flush=True)


def _share(values: Iterator[bool]) -> str:
    flags = list(values)
    return f"{100 * np.mean(flags):.1f} % of {len(flags)}"


def _counts(inks: Iterator[Pixels], random: Generator) -> Iterator[int]:
    """Yield the number of digits that each picture is taken to show; 0 if it is refused."""
    for ink in inks:
        try:
            yield normalise(put_on_paper(ink, random)).digit_count
        except BlankImage:
            yield 0


def _glyph(digits: Pixels, random: Generator) -> Pixels:
    digit = digits[random.integers(len(digits))]
    large = cv2.resize(digit, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    left, top, width, height = cv2.boundingRect((large > INK).astype(np.uint8))
    return np.asarray(large[top : top + height, left : left + width], np.uint8)


def _broken(digits: Pixels, band: float, count: int, random: Generator) -> Iterator[Pixels]:
    for _ in range(count):
        glyph = _glyph(digits, random)
        height, width = glyph.shape
        angle = random.uniform(0, np.pi)
        middle = np.array([width, height]) * random.uniform(0.3, 0.7, 2)
        reach = SIDE * SCALE * np.array([np.cos(angle), np.sin(angle)])
        start, end = (np.rint(middle + sign * reach).astype(int).tolist() for sign in (-1, 1))
        cv2.line(glyph, start, end, (0,), max(1, round(band * SCALE)), cv2.LINE_AA)
        yield glyph


def _pairs(
    digits: Pixels, gap: float, is_column: bool, count: int, random: Generator
) -> Iterator[Pixels]:
    for _ in range(count):
        first, second = _glyph(digits, random), _glyph(digits, random)
        axis = 0 if is_column else 1
        side = max(first.shape[1 - axis], second.shape[1 - axis])
        padded = [_pad(glyph, side, 1 - axis) for glyph in (first, second)]
        shape = list(padded[0].shape)
        shape[axis] = round(gap * SCALE)
        yield np.concatenate([padded[0], np.zeros(shape, np.uint8), padded[1]], axis)


def _pad(glyph: Pixels, side: int, axis: int) -> Pixels:
    """Return a glyph in the middle of a side."""
    room = side - glyph.shape[axis]
    widths = [(0, 0), (0, 0)]
    widths[axis] = (room // 2, room - room // 2)
    return np.pad(glyph, widths)


if __name__ == "__main__":
    main()
