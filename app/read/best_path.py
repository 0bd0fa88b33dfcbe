"""The best path through a segmentation graph: which candidates are the digits of a line.

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, Proc. IEEE
86(11), 1998, section VII. The network scores each candidate, and the Viterbi algorithm finds the
path from the first cut of the line to its end with the least total penalty.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.image.segmentation.box import Box
from app.image.segmentation.graph import Graph
from app.predict.model import Model

Scores = NDArray[np.float64]


class Digit(NamedTuple):
    """A digit of a line; `box` is in pixels of the segmented image."""

    digit: int
    confidence: float
    is_digit: bool
    box: Box


@dataclass(frozen=True, slots=True)
class Penalties:
    """Weights of a candidate's penalties, found by random search on strings of training digits."""

    unlikely: float = 2.0  # times -log p of its likeliest digit
    strange: float = 1.1  # times the energy that it lacks to that of a clear digit
    clear: float = 3.6  # energy of a clear digit above the threshold
    crossed: float = 2.5  # times the ink that its right cut crosses, in heights of the line
    loop: float = 1.1  # for each stroke that the cut crosses beyond the first
    small: float = 0.8  # times the height that it lacks to `full_height`
    full_height: float = 1.15
    low: float = 5.7  # times the height that it lacks to `least_height`
    least_height: float = 0.83
    wide: float = 12.7  # times its width beyond `full_width`
    full_width: float = 0.82
    gap: float = 2.3  # times the widest gap in it
    # For a part that belongs to no digit. A small one may be a dot or dirt.
    dropped_small: float = 2.1
    dropped: float = 30.0


PENALTIES: Final = Penalties()


def read_line(graph: Graph, model: Model) -> list[Digit]:
    """Return the digits of a line from left to right."""
    logits = model.network.logits(graph.pixels).astype(np.float64)
    energies = _log_sum(logits) - model.energy_threshold
    scaled = logits / model.temperature
    likely = scaled.max(1) - _log_sum(scaled)
    digits = logits.argmax(1)
    return [
        Digit(
            int(digits[n]),
            float(np.exp(likely[n])),
            bool(energies[n] >= 0),
            graph.candidates[n].box,
        )
        for n in best_path(graph, penalties(graph, likely, energies))
    ]


def _log_sum(logits: Scores) -> Scores:
    top = logits.max(1)
    total: Scores = top + np.log(np.exp(logits - top[:, None]).sum(1))
    return total


def penalties(
    graph: Graph, likely: Scores, energies: Scores, weights: Penalties = PENALTIES
) -> Scores:
    """Return the penalty of each candidate, (n,).

    `likely` has the logarithm of the probability of its likeliest digit, `energies` the energy
    above the version's threshold.
    """
    width, height, gap = np.array([(c.width, c.height, c.gap) for c in graph.candidates]).T
    nodes = [(cut.crossed, cut.runs) for cut in graph.cuts] + [(0.0, 0)]
    crossed, runs = np.array([nodes[c.last] for c in graph.candidates]).T
    total: Scores = (
        -weights.unlikely * likely
        + weights.strange * np.maximum(0, weights.clear - energies)
        + weights.crossed * crossed
        + weights.loop * np.maximum(0, runs - 1)
        + weights.small * np.maximum(0, weights.full_height - height)
        + weights.low * np.maximum(0, weights.least_height - height)
        + weights.wide * np.maximum(0, width - weights.full_width)
        + weights.gap * gap
    )
    return total


def best_path(graph: Graph, costs: Scores, weights: Penalties = PENALTIES) -> list[int]:
    """Return the numbers of the candidates on the path with the least total penalty."""
    nodes = len(graph.cuts) + 1
    totals = [0.0] + [float("inf")] * (nodes - 1)
    arrivals: list[tuple[int, int | None]] = [(0, None)] * nodes
    leaving: list[list[int]] = [[] for _ in range(nodes)]
    for number, candidate in enumerate(graph.candidates):
        leaving[candidate.first].append(number)
    for node in range(nodes - 1):
        small = graph.skippable[node]
        dropped = weights.dropped_small if small else weights.dropped
        steps: list[tuple[int, float, int | None]] = [(node + 1, dropped, None)]
        steps += [(graph.candidates[n].last, float(costs[n]), n) for n in leaving[node]]
        for target, cost, candidate_number in steps:
            if totals[node] + cost < totals[target]:
                totals[target], arrivals[target] = totals[node] + cost, (node, candidate_number)
    path, node = [], nodes - 1
    while node:
        node, chosen = arrivals[node]
        if chosen is not None:
            path.append(chosen)
    return path[::-1]
