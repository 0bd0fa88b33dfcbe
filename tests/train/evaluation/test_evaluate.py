import numpy as np
import pytest
import torch

from app.net import DIGITS
from app.torch_net import MyNet, net_with
from app.train.evaluation import metrics
from app.train.evaluation.evaluate import correct_mask, evaluate, score
from app.train.evaluation.metrics import calibration_error
from app.train.recipes.dataset import Dataset, Digits

CPU = torch.device("cpu")


class Reader(MyNet):
    """Reads the digit that is written into the first pixel."""

    def forward(self, x):
        digit = ((x[:, 0] + 0.5) * 255).round().long()
        return torch.nn.functional.one_hot(digit, DIGITS) * 9.0


def digits(answers, labels):
    pixels = torch.zeros(len(labels), 28, 28, dtype=torch.uint8)
    pixels[:, 0, 0] = torch.tensor(answers)
    return Digits(pixels, torch.tensor(labels))


def test_the_score_is_what_was_read_right():
    scored = score(Reader(), digits([1, 2, 3, 4], [1, 2, 3, 0]), CPU)
    assert scored.accuracy == 0.75
    loss_if_correct, loss_if_wrong = 0.00111, 9.00111
    assert scored.loss == pytest.approx((3 * loss_if_correct + loss_if_wrong) / 4, rel=1e-3)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("columns", [[0], [3, 4], range(10)], ids=["one", "two", "all"])
def test_answers_that_are_no_numbers_have_no_finite_loss(value, columns):
    logits = np.zeros((5, DIGITS), np.float32)
    logits[0, columns] = value
    labels = np.zeros(5, np.int64)
    assert np.isnan(metrics.score(logits, labels).loss)
    with pytest.raises(metrics.NotFinite):
        metrics.metrics_of(logits, labels, logits, labels)


def test_the_metrics_are_of_the_test_images():
    test = digits([0, 1, 1, 7], [0, 1, 7, 7])
    train = digits([5] * 10, [5] * 10)
    card = evaluate(Reader(), Dataset(train, test, "digest"), CPU)
    assert card.test_accuracy == 0.75
    assert (card.confusion[7][1], card.confusion[7][7], card.confusion[1][7]) == (1, 1, 0)
    assert (card.recall[7], card.recall[1], card.recall[3]) == (0.5, 1.0, 0.0)
    assert sum(map(sum, card.confusion)) == 4


def test_calibration_is_the_gap_between_confidence_and_accuracy():
    """Four answers at 0.8, two of them right; two at 0.6, both right: (4·0.3 + 2·0.4) / 6."""
    logits = np.log([[0.8, 0.2]] * 4 + [[0.6, 0.4]] * 2)
    labels = np.array([0, 0, 1, 1, 0, 0])
    assert calibration_error(logits, labels) == pytest.approx((4 * 0.3 + 2 * 0.4) / 6, rel=1e-6)


def test_sure_and_right_is_well_calibrated():
    assert calibration_error(np.eye(10) * 100, np.arange(10)) == pytest.approx(0.0)


def test_what_is_right_is_told_image_by_image():
    assert correct_mask(Reader(), digits([1, 2, 3], [1, 0, 3]), CPU).tolist() == [True, False, True]


def test_nearly_all_digits_look_like_digits(mnist, registry):
    model = net_with(registry.weights(1))
    subset = Dataset(mnist.train, Digits(mnist.test.pixels[:3000], mnist.test.labels[:3000]), "")
    threshold = evaluate(model, subset, CPU).energy_threshold
    assert threshold == pytest.approx(registry.card(1).energy_threshold, abs=1e-4)
