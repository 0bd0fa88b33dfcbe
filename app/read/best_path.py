"""The best path through a segmentation graph: which candidates are the digits of a line.

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, Proc. IEEE
86(11), 1998, section VII. Each candidate has a penalty, and the Viterbi algorithm finds the path
from the first cut of the line to its end with the least total.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from app.image.segmentation.box import Box
from app.image.segmentation.graph import Graph
from app.predict.model import Model
from app.read.candidate_scorer import features, recognize, trained_scorer

# Penalty of a part that belongs to no digit: it is left out only if the line has no other path.
DROPPED: Final = 12.0


class Digit(NamedTuple):
    """A digit of a line; `box` is in pixels of the segmented image."""

    digit: int
    confidence: float
    is_digit: bool
    box: Box


def read_line(graph: Graph, model: Model) -> list[Digit]:
    """Return the digits of a line from left to right."""
    recognition, scorer = recognize(graph, model), trained_scorer()
    penalties = scorer.penalties(features(graph, recognition))
    digits, likely, _, energies = recognition
    return [
        Digit(
            int(digits[n]),
            float(np.exp(likely[n])),
            bool(energies[n] >= 0),
            graph.candidates[n].box,
        )
        for n in best_path(graph, penalties.tolist(), scorer.dropped_small)
    ]


def best_path(graph: Graph, penalties: Sequence[float], dropped_small: float) -> list[int]:
    """Return the numbers of the candidates on the path with the least total penalty.

    `dropped_small` is the penalty of a part that is too small for a digit, such as a dot or dirt.
    """
    nodes = len(graph.cuts) + 1
    totals = [0.0] + [float("inf")] * (nodes - 1)
    arrivals: list[tuple[int, int | None]] = [(0, None)] * nodes
    leaving: list[list[int]] = [[] for _ in range(nodes)]
    for number, candidate in enumerate(graph.candidates):
        leaving[candidate.first].append(number)
    for node in range(nodes - 1):
        dropped = dropped_small if graph.skippable[node] else DROPPED
        steps: list[tuple[int, float, int | None]] = [(node + 1, dropped, None)]
        steps += [(graph.candidates[n].last, penalties[n], n) for n in leaving[node]]
        for target, penalty, candidate_number in steps:
            if totals[node] + penalty < totals[target]:
                totals[target], arrivals[target] = totals[node] + penalty, (node, candidate_number)
    path, node = [], nodes - 1
    while node:
        node, chosen = arrivals[node]
        if chosen is not None:
            path.append(chosen)
    return path[::-1]
