"""The scorer of candidates, and the sums over paths by which it is trained."""

from itertools import pairwise

import numpy as np
import pytest

from app.image.segmentation.segment import segment
from app.mnist.files import read_test_images
from app.read.candidate_scorer import MAX_ENERGY, features, recognize, trained_scorer
from tests.conftest import DATA
from tests.read.test_best_path import graph as graph_of
from tools.digit_strings import draw_strings
from tools.path_training.forward_backward import usage

SMALL, LARGE = 0.7, 1.9


@pytest.fixture(scope="module")
def graph():
    (string,) = draw_strings("touching", 1, 5, *read_test_images(DATA))
    (graph,) = segment(string.grey)
    return graph


def test_features_say_what_is_read_and_how_it_is_cut(graph, robust_model):
    read = recognize(graph, robust_model)
    rows = features(graph, read)
    assert rows.shape == (len(graph.candidates), 20)
    shares = robust_model.answer(graph.pixels).probabilities
    ordered = np.sort(shares, axis=1)
    np.testing.assert_allclose(np.exp(rows[:, 0]), ordered[:, -1], rtol=1e-4)
    np.testing.assert_allclose(np.exp(rows[:, 1]), ordered[:, -2], rtol=1e-4)
    assert np.abs(rows[:, 2]).max() <= MAX_ENERGY
    assert ((rows[:, 2] >= 0) == robust_model.answer(graph.pixels).is_digit).all()
    for row, candidate in zip(rows, graph.candidates, strict=True):
        is_seam = [
            node < len(graph.cuts) and graph.cuts[node].columns is not None
            for node in (candidate.last, candidate.first)
        ]
        assert row[5:7].tolist() == is_seam
        assert row[7:10] == pytest.approx((candidate.width, candidate.height, candidate.gap))
    assert rows[:, 10:].argmax(1).tolist() == read.digits.tolist()


def test_line_without_candidates_has_no_penalties(graph, robust_model):
    empty = graph._replace(candidates=[], pixels=graph.pixels[:0])
    rows = features(empty, recognize(empty, robust_model))
    assert trained_scorer().penalties(rows).shape == (0,)


def test_energy_of_any_size_gives_a_finite_penalty(graph, robust_model):
    read = recognize(graph, robust_model)
    for energy in (-1e9, 1e9):
        rows = features(graph, read._replace(energies=np.full(len(read.digits), energy)))
        assert np.isfinite(trained_scorer().penalties(rows)).all()


def paths(line, node=0):
    """Yield each path as its steps: numbers of candidates, or the node of a part left out."""
    if node == len(line.skippable):
        yield []
        return
    for rest in paths(line, node + 1):
        yield [("dropped", node), *rest]
    for number, candidate in enumerate(line.candidates):
        if candidate.first == node:
            for rest in paths(line, candidate.last):
                yield [("candidate", number), *rest]


@pytest.mark.parametrize("text", [None, [1, 2], [2, 1, 2], [3, 3, 3, 3, 3, 3]])
def test_usage_is_the_sum_over_all_paths(text):
    random = np.random.default_rng(7)
    edges = [(a, b) for a in range(5) for b in range(a + 1, min(a + 4, 6))]
    line = graph_of(edges, small={0, 2, 3})
    penalties = random.normal(0, 2, len(edges))
    digits = random.integers(1, 3, len(edges)).tolist()
    total, used, small = 0.0, np.zeros(len(edges)), 0.0
    for path in paths(line):
        chosen = [number for kind, number in path if kind == "candidate"]
        dropped = [node for kind, node in path if kind == "dropped"]
        spans = [line.candidates[number] for number in chosen]
        assert all(before.last <= after.first for before, after in pairwise(spans))
        if text is not None and [digits[number] for number in chosen] != text:
            continue
        costs = [SMALL if line.skippable[node] else LARGE for node in dropped]
        weight = np.exp(-penalties[chosen].sum() - sum(costs))
        total += weight
        used[chosen] += weight
        small += weight * sum(line.skippable[node] for node in dropped)
    found = usage(line, penalties, SMALL, digits=digits, text=text, dropped=LARGE)
    if total == 0:
        assert found is None
        return
    assert found.log_sum == pytest.approx(np.log(total))
    assert found.candidates == pytest.approx(used / total)
    assert found.small == pytest.approx(small / total)
