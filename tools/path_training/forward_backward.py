"""Sums over all paths through a segmentation graph, by the forward-backward algorithm."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.image.segmentation.graph import Graph
from app.read.best_path import DROPPED

Scores = NDArray[np.float64]
# A step from one node to another: its score, and the candidate, or `SMALL` or `LARGE` if the part
# between two nodes is dropped.
Step = tuple[int, int, float, int]
# A step with the positions in the text before and after it.
Move = tuple[Step, list[tuple[int, int]]]
SMALL, LARGE = -1, -2
NEVER = -math.inf


class Usage(NamedTuple):
    """The logarithm of the sum over all paths, and how often a path takes each candidate, (n,).

    `small` is how many small parts a path drops.
    """

    log_sum: float
    candidates: Scores
    small: float


def usage(
    graph: Graph,
    penalties: Scores,
    dropped_small: float,
    *,
    digits: list[int] | None = None,
    text: list[int] | None = None,
    dropped: float = DROPPED,
) -> Usage | None:
    """Return the usage by all paths, or by those that spell `text`; None if no path does.

    `digits` has the digit of each candidate; it counts only with a `text`.
    """
    steps = _steps(graph, penalties, dropped_small, dropped)
    width = 1 if text is None else len(text) + 1
    moves = [(step, _positions(step[3], digits, text)) for step in steps]
    forward = _sums(moves, len(graph.skippable) + 1, width)
    log_sum = forward[-1][-1]
    if log_sum == NEVER:
        return None
    return _expected_usage(moves, forward, log_sum, len(penalties))


def _steps(graph: Graph, penalties: Scores, dropped_small: float, dropped: float) -> list[Step]:
    """Return all steps, those from the left first."""
    steps: list[Step] = [
        (node, node + 1, -dropped_small, SMALL) if small else (node, node + 1, -dropped, LARGE)
        for node, small in enumerate(graph.skippable)
    ]
    candidates = zip(graph.candidates, (-penalties).tolist(), strict=True)
    steps += [(c.first, c.last, score, number) for number, (c, score) in enumerate(candidates)]
    return sorted(steps)


def _positions(
    candidate: int, digits: list[int] | None, text: list[int] | None
) -> list[tuple[int, int]]:
    """Return the positions in the text before and after a step."""
    if text is None or digits is None:
        return [(0, 0)]
    if candidate < 0:
        return [(position, position) for position in range(len(text) + 1)]
    return [(at, at + 1) for at, digit in enumerate(text) if digit == digits[candidate]]


def _sums(moves: list[Move], nodes: int, width: int) -> list[list[float]]:
    """Return the logarithm of the sum over the paths to each node and position."""
    sums = [[NEVER] * width for _ in range(nodes)]
    sums[0][0] = 0.0
    for (start, end, score, _), positions in moves:
        for before, after in positions:
            if sums[start][before] > NEVER:
                sums[end][after] = _log_add(sums[end][after], sums[start][before] + score)
    return sums


def _expected_usage(
    moves: list[Move], forward: list[list[float]], log_sum: float, candidates: int
) -> Usage:
    """Return the usage of each step, from the sums over the paths that lead from it to the end."""
    backward = [[NEVER] * len(row) for row in forward]
    backward[-1][-1] = 0.0
    used, small = np.zeros(candidates), 0.0
    for (start, end, score, candidate), positions in reversed(moves):
        for before, after in positions:
            rest = backward[end][after] + score
            backward[start][before] = _log_add(backward[start][before], rest)
            share = math.exp(min(0.0, forward[start][before] + rest - log_sum))
            if candidate >= 0:
                used[candidate] += share
            elif candidate == SMALL:
                small += share
    return Usage(log_sum, used, small)


def _log_add(a: float, b: float) -> float:
    if min(a, b) == NEVER:
        return max(a, b)
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))
