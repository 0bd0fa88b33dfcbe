"""Score of each candidate of a line: how unlikely it is to be one whole digit.

The energy and likelihood that MyNet gives to a candidate do not tell a 7 from the 1 that is left
when the 7's bar is cut off. A small network weighs them against sizes and cuts. It is trained so
that the paths with the right text are the likeliest of all paths through the graph (LeCun, Bottou,
Bengio, Haffner: Gradient-based learning applied to document recognition, Proc. IEEE 86(11), 1998,
section VI, "discriminative forward training"). `python -m tools.path_training` trains it.
"""

from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from app.image.segmentation.graph import Graph
from app.net import DIGITS
from app.predict.model import Model

Scores = NDArray[np.float64]
Tensors = dict[str, NDArray[np.float32]]

WEIGHTS: Final = Path(__file__).with_name("candidate_scorer.safetensors")
LAYERS: Final = ("hidden1", "hidden2", "penalty")
DROPPED_SMALL: Final = "dropped_small"
MEASURES: Final = 7  # of cuts and sizes
# Energies beyond this say no more.
MAX_ENERGY: Final = 10.0


class Recognition(NamedTuple):
    """What MyNet reads in n candidates: digits, and for each the log-probability of that digit.

    `second` has the log-probability of the next likely digit, `energies` the energy above the
    version's threshold. All are (n,).
    """

    digits: NDArray[np.intp]
    likely: Scores
    second: Scores
    energies: Scores


def recognize(graph: Graph, model: Model) -> Recognition:
    """Return what a version reads in the candidates of a graph."""
    logits = model.network.logits(graph.pixels).astype(np.float64)
    scaled = logits / model.temperature
    ordered = np.sort(scaled - _log_sum(scaled)[:, None], axis=1)
    energies = _log_sum(logits) - model.energy_threshold
    return Recognition(logits.argmax(1), ordered[:, -1], ordered[:, -2], energies)


def features(graph: Graph, recognition: Recognition) -> NDArray[np.float32]:
    """Return the input of the scorer, (n, 20): recognition, cuts, sizes, and the digit."""
    nodes = [(cut.crossed, cut.runs, cut.columns is not None) for cut in graph.cuts]
    nodes.append((0.0, 0, False))  # the end of the line
    rows = [
        (*nodes[c.last], nodes[c.first][-1], c.width, c.height, c.gap) for c in graph.candidates
    ]
    digits, likely, second, energies = recognition
    measured = np.array(rows, np.float64).reshape(-1, MEASURES)
    scores = np.stack([likely, second, np.clip(energies, -MAX_ENERGY, MAX_ENERGY)], axis=1)
    return np.concatenate([scores, measured, np.eye(DIGITS)[digits]], axis=1).astype(np.float32)


class CandidateScorer:
    """The trained network, and the penalty of a small part that belongs to no digit."""

    def __init__(self, tensors: Tensors) -> None:
        self.layers = [(tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in LAYERS]
        self.dropped_small = float(tensors[DROPPED_SMALL][0])

    def penalties(self, inputs: NDArray[np.float32]) -> Scores:
        """Return the penalty of each candidate, (n,), for its (n, 20) features."""
        *hidden, (weight, bias) = self.layers
        x = inputs
        for hidden_weight, hidden_bias in hidden:
            x = np.maximum(x @ hidden_weight.T + hidden_bias, 0)
        penalties: Scores = (x @ weight.T + bias)[:, 0].astype(np.float64)
        return penalties


@cache
def trained_scorer() -> CandidateScorer:
    """Return the scorer that is shipped."""
    return CandidateScorer(load_file(WEIGHTS))


def _log_sum(logits: Scores) -> Scores:
    top = logits.max(1)
    total: Scores = top + np.log(np.exp(logits - top[:, None]).sum(1))
    return total
