"""Strings of MNIST's training digits as examples: a graph, features, and the right text.

The digits are bent at random, since a version knows those that it was trained on too well: it
reads 99.5 % of digits that are bent by 1.7, about as many as of new ones. Some strings have specks.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from app.errors import ServiceError
from app.image.segmentation.graph import Graph
from app.image.segmentation.segment import segment
from app.read.candidate_scorer import features, recognize
from app.train.recipes.dataset import load as load_mnist
from tests.conftest import DATA, ROOT
from tests.read.checkpoints import load_model
from tools.digit_strings import SIDE, Pixels, draw_line, pick_digits, put_on_paper

TRAINING_DIGITS: Final = 50_000  # the other 10,000 are for validation
MAX_SPECKS: Final = 3
# A speck's side, as a share of the line's height.
SPECK: Final = (0.03, 0.15)
SPECK_RATE: Final = 0.2


class Part(NamedTuple):
    """Strings of one kind: their number, how much their digits are bent, and a version."""

    kind: str
    count: int
    bend: float
    version: str = "robust"


class Example(NamedTuple):
    """A line of digits that is all of an image; the graph has no pixels."""

    graph: Graph
    inputs: NDArray[np.float32]
    digits: list[int]  # of each candidate
    text: list[int]


def draw_examples(part: Part, seed: int, *, validation: bool = False) -> list[Example | None]:
    """Return the examples of a part; None for a string that is not segmented as one line."""
    cv2.setNumThreads(1)
    random = np.random.default_rng(seed)
    model = load_model(ROOT / "models" / f"{part.version}.safetensors")
    examples: list[Example | None] = []
    for grey, text in _strings(part, random, validation=validation):
        try:
            graphs = segment(grey)
        except ServiceError:
            graphs = []
        if len(graphs) != 1 or not graphs[0].candidates:
            examples.append(None)
            continue
        (graph,) = graphs
        read = recognize(graph, model)
        inputs, bare_graph = features(graph, read), graph._replace(pixels=graph.pixels[:0])
        examples.append(Example(bare_graph, inputs, read.digits.tolist(), text))
    return examples


def _strings(
    part: Part, random: Generator, *, validation: bool
) -> Iterator[tuple[Pixels, list[int]]]:
    mnist = load_mnist(DATA).train
    chosen = slice(TRAINING_DIGITS, None) if validation else slice(0, TRAINING_DIGITS)
    pixels, labels = mnist.pixels[chosen].numpy(), mnist.labels[chosen].numpy()
    for _ in range(part.count):
        picks = pick_digits(part.kind, len(pixels), random)
        digits = np.stack([_bent(digit, part.bend, random) for digit in pixels[picks]])
        ink = draw_line(digits, random, touching=part.kind != "gaps")
        if random.random() < SPECK_RATE:
            ink = _with_specks(ink, random)
        yield put_on_paper(ink, random), labels[picks].tolist()


def _bent(digit: Pixels, bend: float, random: Generator) -> Pixels:
    """Return a digit turned, slanted, scaled and bent, the more so the larger `bend` is.

    The bends are those of Simard, Steinkraus, Platt 2003, "Best Practices for Convolutional Neural
    Networks Applied to Visual Document Analysis".
    """
    angle, slant = random.normal(0, 0.06 * bend, 2)
    scale = 1 + random.normal(0, 0.03 * bend)
    shifts = [
        4 * bend * cv2.GaussianBlur(random.uniform(-1, 1, (SIDE, SIDE)), (0, 0), 4.0)
        for _ in range(2)
    ]
    centre = (SIDE - 1) / 2
    y, x = np.mgrid[0:SIDE, 0:SIDE] - centre
    across = (np.cos(angle) * x - np.sin(angle) * y + slant * y) / scale + centre + shifts[0]
    down = (np.sin(angle) * x + np.cos(angle) * y) / scale + centre + shifts[1]
    maps = across.astype(np.float32), down.astype(np.float32)
    return np.asarray(cv2.remap(digit, *maps, cv2.INTER_CUBIC), np.uint8)


def _with_specks(ink: Pixels, random: Generator) -> Pixels:
    """Return the ink of a line with a few specks of ink, some of them on its digits."""
    height, width = ink.shape
    speckled = ink.copy()
    for _ in range(int(random.integers(1, MAX_SPECKS + 1))):
        side = max(2, round(random.uniform(*SPECK) * height))
        left, top = int(random.integers(0, width)), int(random.integers(0, height))
        speckled[top : top + side, left : left + side] = 255
    return speckled
