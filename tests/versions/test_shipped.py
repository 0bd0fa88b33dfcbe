"""The shipped checkpoints are what their cards say."""

import pytest
import torch

from app.net import MyNet
from app.train.evaluation.evaluate import evaluate
from app.train.recipes.recipes import split
from app.versions import checkpoint
from app.versions.registry import SHIPPED

FILES = sorted(SHIPPED.glob("*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_card_tells_what_the_weights_do(path, mnist):
    card, model = checkpoint.read_card(path), MyNet()
    model.load_state_dict(checkpoint.read_weights(path))
    held_out = split(mnist.train)[1] if card.recipe == "robust" else None
    metrics = evaluate(model, mnist, torch.device("cpu"), held_out)
    assert metrics.temperature == pytest.approx(card.temperature, rel=0.01)
    assert metrics.energy_threshold == pytest.approx(card.energy_threshold, abs=1e-3)
    assert metrics.test_accuracy == card.test_accuracy
    assert metrics.confusion == card.confusion
    assert metrics.calibration_error == pytest.approx(card.calibration_error, abs=1e-5)
    assert metrics.test_loss == pytest.approx(card.test_loss, rel=1e-5)
    assert checkpoint.digest(model.state_dict()) == card.weights_digest
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
