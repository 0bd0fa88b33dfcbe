"""Similar versions, and images whose answers identify the version.

A state folder gets three versions, the documented one live. Any two of them differ on each of some
MNIST images by a hundred times the tolerance, so an answer can be of one version alone.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from app.net import Weights
from app.predict.model import Model, load_network
from app.train.recipes.dataset import load as load_mnist
from app.versions import checkpoint
from app.versions.registry import SHIPPED, Registry
from tests.conftest import DATA, png
from tests.rigs.load.http_load import Exchange

IMAGES: Final = 200
NOISE: Final = 0.1
TOLERANCE: Final = 1e-5  # batches of different sizes are summed in different orders
MIN_DIFFERENCE: Final = 100 * TOLERANCE


class ReferenceAnswers(NamedTuple):
    """Uploads, and the probabilities, (N, 10) float64, that each version gives them."""

    uploads: list[bytes]
    probabilities: dict[int, Tensor]


def make(state: Path) -> ReferenceAnswers:
    """Put the documented version and two like it into a state folder."""
    registry = Registry(state / "models")
    card = checkpoint.read_card(SHIPPED / "documented.safetensors")
    shipped = checkpoint.read_weights(SHIPPED / "documented.safetensors")
    registry.save(shipped, card)
    for seed in (2, 3):
        weights = _perturbed(shipped, seed)
        digest = checkpoint.digest(weights)
        registry.save(weights, card.model_copy(update={"weights_digest": digest}))
    registry.promote(1)
    return _select_distinguishing(registry, load_mnist(DATA).test.pixels)


def count_mismatches(exchanges: Sequence[Exchange], reference: ReferenceAnswers) -> int:
    """Count the answers that are not those of the version that they name."""
    return sum(not _matches(exchange, reference) for exchange in exchanges if exchange.answer)


def _perturbed(weights: Weights, seed: int) -> Weights:
    random = np.random.default_rng(seed)
    return {
        name: array * (1 + NOISE * random.standard_normal(array.shape, np.float32))
        for name, array in weights.items()
    }


def _select_distinguishing(registry: Registry, pixels: Tensor) -> ReferenceAnswers:
    answers = {version: _answers(registry, version, pixels) for version in registry.versions()}
    differences = torch.stack([(a - b).abs().amax(1) for a, b in combinations(answers.values(), 2)])
    chosen = (differences.amin(0) > MIN_DIFFERENCE).nonzero().flatten()[:IMAGES]
    if len(chosen) < IMAGES:
        raise AssertionError(f"the versions differ on {len(chosen)} images alone")
    uploads = [png(image.numpy()) for image in pixels[chosen]]
    return ReferenceAnswers(uploads, {version: rows[chosen] for version, rows in answers.items()})


def _answers(registry: Registry, version: int, pixels: Tensor) -> Tensor:
    network = load_network(registry.weights(version), "cpu")
    model = Model(version, network, 0.0)
    rows = [answer.probabilities for answer in model.answer(pixels.numpy())]
    return torch.tensor(rows, dtype=torch.float64)  # (N, 10)


def _matches(exchange: Exchange, reference: ReferenceAnswers) -> bool:
    answer = exchange.answer
    expected = reference.probabilities[answer["version"]][exchange.upload]
    probabilities = torch.tensor(answer["probabilities"], dtype=torch.float64)
    return (
        bool((probabilities - expected).abs().max() <= TOLERANCE)
        and answer["digit"] == probabilities.argmax()
    )
