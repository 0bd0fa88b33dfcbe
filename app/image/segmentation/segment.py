"""Segment an image: its lines of digits, each as a graph of candidates."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.errors import BlankImage, TooManyDigits
from app.image.mnist_format import MnistImage, detect_mnist_format
from app.image.segmentation.box import Box
from app.image.segmentation.graph import Candidate, Cut, Graph, build_graph
from app.image.segmentation.lines import find_lines
from app.image.segmentation.pieces import find_pieces

# Ten lines of eight digits have about 800 candidates, which take 0.3 s on one core.
MAX_CANDIDATES: Final = 4000
MAX_PIECES: Final = 500
# Dirt far from all digits counts too, before it takes time to sort it into lines.
MAX_SPECKS: Final = 5000
# Ten lines of eight digits have about 300 cuts.
MAX_CUTS: Final = 4000


def segment(grey: NDArray[np.uint8]) -> list[Graph]:
    """Return the graphs of the lines from top to bottom. Raises BlankImage, TooManyDigits."""
    mnist_image = detect_mnist_format(grey)
    if mnist_image is not None:
        return [_single(mnist_image)]
    sheet = find_pieces(grey)
    if sheet is None:
        raise _blank()
    _check(len(sheet.pieces), MAX_SPECKS, "pieces of ink")
    lines = find_lines(sheet.pieces)
    _check(sum(len(line.pieces) for line in lines), MAX_PIECES, "pieces of ink")
    graphs: list[Graph] = []
    for line in lines:
        graphs.append(build_graph(sheet, line))
        _check(sum(len(graph.cuts) for graph in graphs), MAX_CUTS, "cuts")
        _check(sum(len(graph.candidates) for graph in graphs), MAX_CANDIDATES, "candidates")
    graphs = [graph for graph in graphs if graph.candidates]
    if not graphs:
        raise _blank()
    return graphs


def _single(image: MnistImage) -> Graph:
    """Return the graph of one digit in MNIST's form."""
    candidate = Candidate(0, 1, Box(*image.box), 1.0, 1.0, 0.0)
    return Graph([Cut(0, None)], [False], [candidate], image.pixels[None])


def _blank() -> BlankImage:
    return BlankImage(
        "The image contains no ink, or only noise. "
        "Send digits that stand out from their background."
    )


def _check(count: int, limit: int, unit: str) -> None:
    if count > limit:
        raise TooManyDigits(
            f"The image has more than {limit:,} {unit} for digits. Send fewer lines in one image."
        )
