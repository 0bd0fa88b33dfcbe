"""`python -m tools.digit_strings`: strings of MNIST's test digits, and how many MyNet reads.

Three kinds: `gaps` leaves paper between two digits, `touching` moves each digit until its ink meets
the ink on its left, and `pairs` are two digits that touch. The baseline is slanted, the digits
stand at different heights, and paper, pen, size and noise are drawn at random.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from app.errors import ServiceError
from app.image.segmentation.segment import segment
from app.mnist.files import read_test_images
from app.predict.model import Model
from app.read.best_path import read_line
from app.read.reading import text_of
from tests.conftest import DATA, ROOT
from tests.read.checkpoints import load_model

Pixels: TypeAlias = NDArray[np.uint8]

KINDS: Final = ("gaps", "touching", "pairs")
SIDE: Final = 28
# Ink of MNIST's tones, and pixels of the 28×28 image.
INK: Final = 100
GAPS: Final = (2.0, 14.0)
OVERLAPS: Final = (0.0, 0.5)
RISE: Final = 3.0


class DigitString(NamedTuple):
    """A sheet, (H, W) uint8, dark on light or light on dark, and the text on it."""

    grey: Pixels
    text: str


def draw_strings(
    kind: str, count: int, seed: int, digits: Pixels, labels: Pixels
) -> Iterator[DigitString]:
    """Yield `count` strings of a kind, 2 to 8 digits long (`pairs`: 2), from MNIST images."""
    random = np.random.default_rng([seed, KINDS.index(kind)])
    for _ in range(count):
        picks = pick_digits(kind, len(digits), random)
        ink = draw_line(digits[picks], random, touching=kind != "gaps")
        text = "".join(str(label) for label in labels[picks])
        yield DigitString(put_on_paper(ink, random), text)


def pick_digits(kind: str, total: int, random: Generator) -> NDArray[np.int64]:
    """Return the indices of a string's digits, of `total` images."""
    length = 2 if kind == "pairs" else int(random.integers(2, 9))
    return random.integers(0, total, length)


def draw_line(digits: Pixels, random: Generator, *, touching: bool) -> Pixels:
    """Return the ink of digits side by side on a slanted baseline, cropped to it: (H, W) uint8."""
    scale = random.uniform(1.5, 5.0)
    slope = random.uniform(-0.12, 0.12)
    side = round(SIDE * scale)
    room = side * (len(digits) + 1) * 2
    sheet = np.zeros((room, room), np.uint8)
    x, top = side, room // 2
    for number, digit in enumerate(digits):
        glyph = _enlarge(digit, side)
        y = round(top + slope * (x - side) + random.uniform(-RISE, RISE) * scale)
        if number:
            x += _offset(sheet[y : y + side], glyph, x, random, scale, touching=touching)
        place = sheet[y : y + side, x : x + side]
        np.maximum(place, glyph, out=place)
    left, y, width, height = cv2.boundingRect((sheet > INK).astype(np.uint8))
    return sheet[y : y + height, left : left + width]


def _enlarge(digit: Pixels, side: int) -> Pixels:
    large = cv2.resize(digit, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.uint8)


def _offset(
    band: Pixels, glyph: Pixels, x: int, random: Generator, scale: float, *, touching: bool
) -> int:
    """Return how far right of `x` the glyph has to go, given the ink already in its rows."""
    first = int(np.flatnonzero((glyph > INK).any(0))[0])
    if not touching:
        last = int(np.flatnonzero((band > INK).any(0))[-1])
        return last + 1 + round(random.uniform(*GAPS) * scale) - first - x
    rows = np.flatnonzero((band > INK).any(1) & (glyph > INK).any(1))
    ends = band.shape[1] - 1 - (band[rows, ::-1] > INK).argmax(1)
    starts = (glyph[rows] > INK).argmax(1)
    # The ink meets in the row with the least room; without a common row, the boxes meet.
    meeting = int((ends - starts).max()) + 1 if len(rows) else x
    return meeting - round(random.uniform(*OVERLAPS) * scale) - x


def put_on_paper(ink: Pixels, random: Generator) -> Pixels:
    """Return ink on paper with a margin, noise and soft focus, in either polarity."""
    margin = [int(random.uniform(0.3, 1.5) * ink.shape[0]) + 4 for _ in range(4)]
    framed = cv2.copyMakeBorder(ink, *margin, cv2.BORDER_CONSTANT, value=(0.0,)) / 255
    paper, pen = random.uniform(190, 255), random.uniform(0, 90)
    page = paper - (paper - pen) * framed + random.normal(0, random.uniform(0, 5), framed.shape)
    grey = np.clip(page, 0, 255).astype(np.uint8)
    return 255 - grey if random.random() < 0.3 else grey


def main() -> None:
    """Print the share of strings that a checkpoint reads exactly, of each kind."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "models" / "robust.safetensors")
    parser.add_argument("--count", type=int, default=1000, help="strings of each kind")
    parser.add_argument("--seed", type=int, default=1998)
    parser.add_argument("--failures", action="store_true", help="print what is read wrong")
    arguments = parser.parse_args()
    model, mnist = load_model(arguments.checkpoint), read_test_images(DATA)
    for kind in KINDS:
        texts = [
            (string.text, read_text(string.grey, model))
            for string in draw_strings(kind, arguments.count, arguments.seed, *mnist)
        ]
        right = sum(text == reading for text, reading in texts)
        print(f"{kind}: {100 * right / len(texts):.1f} % of {len(texts)} strings", flush=True)
        for text, reading in texts:
            if arguments.failures and text != reading:
                print(f"    {text} is read as {reading!r}")


def read_text(grey: Pixels, model: Model) -> str:
    """Return the text that is read from a sheet, or the code of an error."""
    try:
        lines = [read_line(graph, model) for graph in segment(grey)]
    except ServiceError as error:
        return error.code
    return "\n".join(text_of(line) for line in lines)


if __name__ == "__main__":
    main()
