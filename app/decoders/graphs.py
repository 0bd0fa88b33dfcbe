"""Segmentation graphs as the content of a reply: the cuts, the candidates, and their pixels.

The rows have fixed sizes, so the server knows the length of the content from the counts in the
head, and checks thousands of rows at once.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.image.segmentation.box import Box
from app.image.segmentation.graph import Candidate, Cut, Graph
from app.net import SIDE

CUT: Final = np.dtype([("piece", "<u2"), ("runs", "<u2"), ("skippable", "?"), ("crossed", "<f8")])
CANDIDATE: Final = np.dtype(
    [("first", "<u2"), ("last", "<u2"), ("box", "<u2", 4), ("sizes", "<f8", 3)]
)
PIXELS: Final = SIDE * SIDE
# Sizes and crossed ink are in heights of the line, which has at least a pixel of at most 1,024.
MAX_SIZE: Final = 1024.0
Counts = Sequence[tuple[int, int]]  # the cuts and candidates of each line


class InvalidGraph(ValueError):
    """A graph that no decoder sends."""


def counts_of(graphs: Sequence[Graph]) -> list[tuple[int, int]]:
    return [(len(graph.cuts), len(graph.candidates)) for graph in graphs]


def content_bytes(counts: Counts) -> int:
    """Return the length of the content for graphs with so many cuts and candidates."""
    return sum(
        cuts * CUT.itemsize + candidates * (CANDIDATE.itemsize + PIXELS)
        for cuts, candidates in counts
    )


def pack(graphs: Sequence[Graph]) -> bytes:
    """Return the graphs as bytes. The columns of the cuts, which only segmentation needs, go."""
    return b"".join(part for graph in graphs for part in _pack_graph(graph))


def _pack_graph(graph: Graph) -> tuple[bytes, bytes, bytes]:
    cuts = [
        (cut.piece, cut.runs, skippable, cut.crossed)
        for cut, skippable in zip(graph.cuts, graph.skippable, strict=True)
    ]
    candidates = [
        (found.first, found.last, found.box, (found.width, found.height, found.gap))
        for found in graph.candidates
    ]
    rows = np.array(cuts, CUT), np.array(candidates, CANDIDATE)
    return rows[0].tobytes(), rows[1].tobytes(), graph.pixels.tobytes()


def check(counts: Counts, content: bytes) -> None:
    """Raise InvalidGraph if a content of the right length is none that `pack` returns."""
    for cuts, candidates, _ in _split(counts, content):
        first, last, box = (candidates[name] for name in ("first", "last", "box"))
        if not (np.all(first < last) and np.all(last <= len(cuts))):
            raise InvalidGraph("a candidate lies between no two cuts")
        if not np.all(box[:, :2] < box[:, 2:]):
            raise InvalidGraph("a box is empty")
        if np.any(cuts["skippable"].view(np.uint8) > 1):
            raise InvalidGraph("a flag is neither 0 nor 1")
        for sizes in (cuts["crossed"], candidates["sizes"]):
            if not np.all((sizes >= 0) & (sizes <= MAX_SIZE)):  # NaN is neither
                raise InvalidGraph("a size is out of range")


def unpack(counts: Counts, content: bytes) -> list[Graph]:
    """Return the graphs in a checked content."""
    return [
        Graph(
            [Cut(piece, None, crossed, runs) for piece, runs, _, crossed in cuts.tolist()],
            cuts["skippable"].tolist(),
            [
                Candidate(first, last, Box(*box), *sizes)
                for first, last, box, sizes in candidates.tolist()
            ],
            pixels,
        )
        for cuts, candidates, pixels in _split(counts, content)
    ]


def _split(
    counts: Counts, content: bytes
) -> Iterator[tuple[NDArray[np.void], NDArray[np.void], NDArray[np.uint8]]]:
    """Yield the rows of each line's cuts and candidates, and (n, 28, 28) pixels."""
    start = 0
    for cut_count, candidate_count in counts:
        cuts = np.frombuffer(content, CUT, cut_count, start)
        candidates = np.frombuffer(content, CANDIDATE, candidate_count, start + cuts.nbytes)
        start += cuts.nbytes + candidates.nbytes
        pixels = np.frombuffer(content, np.uint8, candidate_count * PIXELS, start)
        start += pixels.nbytes
        yield cuts, candidates, pixels.reshape(-1, SIDE, SIDE)
