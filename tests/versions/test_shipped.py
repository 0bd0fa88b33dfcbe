"""The shipped checkpoints are what their cards say."""

from contextlib import suppress

import numpy as np
import pytest
import torch

from app.errors import BlankImage
from app.image.normalise import normalise
from app.predict.model import Model
from app.predict.numpy_net import NumpyNet
from app.torch_net import net_with, weights_of
from app.train.evaluation.evaluate import evaluate
from app.train.recipes.recipes import split
from app.train.recipes.synthetic.doodles import draw_paper
from app.train.recipes.synthetic.nothing import draw_nothing
from app.versions import checkpoint
from app.versions.registry import SHIPPED
from tools.unseen_forms import draw_unseen_digits

FILES = sorted(SHIPPED.glob("*.safetensors"))
# Shares of digits in forms that no training draws; the previous network read 0.94, and 0.55 of 1s.
MIN_UNSEEN, MIN_UNSEEN_ONES = 0.97, 0.85


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_card_tells_what_the_weights_do(path, mnist):
    card, model = checkpoint.read_card(path), net_with(checkpoint.read_weights(path))
    held_out = split(mnist.train)[1] if card.recipe == "robust" else None
    metrics = evaluate(model, mnist, torch.device("cpu"), held_out)
    assert metrics.temperature == pytest.approx(card.temperature, rel=0.01)
    assert metrics.energy_threshold == pytest.approx(card.energy_threshold, abs=1e-3)
    assert metrics.test_accuracy == card.test_accuracy
    assert metrics.confusion == card.confusion
    assert metrics.calibration_error == pytest.approx(card.calibration_error, abs=1e-5)
    assert metrics.test_loss == pytest.approx(card.test_loss, rel=1e-5)
    assert checkpoint.digest(weights_of(model)) == card.weights_digest
    assert card.data_digest == mnist.digest


def test_the_documented_one_is_the_tutorials_training():
    card = checkpoint.read_card(SHIPPED / "documented.safetensors")
    assert card.recipe == "documented"
    assert 0.971 <= card.test_accuracy <= 0.977
    assert len(card.epochs) == 10
    hyperparameters = card.hyperparameters
    assert (
        hyperparameters["batch_size"],
        hyperparameters["learning_rate"],
        hyperparameters["momentum"],
    ) == (100, 0.01, 0.9)
    assert isinstance(hyperparameters["seed"], int)


@pytest.fixture(scope="module")
def robust():
    path = SHIPPED / "robust.safetensors"
    card = checkpoint.read_card(path)
    network = NumpyNet(checkpoint.read_weights(path))
    return Model(2, network, card.energy_threshold, card.temperature)


def test_robust_reads_forms_that_no_training_draws(robust):
    digits = draw_unseen_digits(np.random.default_rng(11), 600)
    answers = robust.answer(digits.pixels.numpy())
    right = np.array([answer.digit for answer in answers]) == digits.labels.numpy()
    assert right.mean() > MIN_UNSEEN
    assert right[digits.labels.numpy() == 1].mean() > MIN_UNSEEN_ONES


def test_robust_takes_no_pixels_of_nothing_for_a_digit(robust):
    random = np.random.default_rng(12)
    tones = [np.full((28, 28), tone, np.uint8) for tone in range(256)]
    answers = robust.answer(np.stack([*tones, *(draw_nothing(random) for _ in range(300))]))
    assert not any(answer.is_digit for answer in answers)


def test_robust_takes_hardly_any_squared_paper_for_a_digit(robust):
    """400 sheets; docs/explanation/accuracy.md has the figure of 2,000."""
    random, squares = np.random.default_rng(13), []
    for _ in range(400):
        with suppress(BlankImage):
            squares.append(normalise(255 - draw_paper(random)).pixels)
    accepted = [answer.is_digit for answer in robust.answer(np.stack(squares))]
    assert sum(accepted) < 0.03 * 400
