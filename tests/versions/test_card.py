"""What a card works out from its confusion matrix."""

import pytest

from app.versions.card import Metrics, wilson


def metrics(confusion, accuracy):
    return Metrics(test_accuracy=accuracy, test_loss=0.1, confusion=confusion, energy_threshold=1.0)


def test_precision_and_recall_by_digit():
    card = metrics([[8, 2, 0], [1, 9, 0], [0, 5, 0]], 17 / 25)
    assert card.recall == [0.8, 0.9, 0.0]
    assert card.precision == [8 / 9, 9 / 16, 0.0]


@pytest.mark.parametrize(
    ("share", "total", "low", "high"),
    [
        (0.9721, 10_000, 0.968687, 0.975152),
        (0.5, 100, 0.403832, 0.596168),
        (1.0, 10_000, 0.999616, 1.0),
        (0.0, 10, 0.0, 0.277535),
        (0.0, 0, 0.0, 1.0),
    ],
)
def test_the_interval_is_wilsons(share, total, low, high):
    assert wilson(share, total) == pytest.approx((low, high), abs=1e-5)


def test_they_are_told_and_read_back():
    card = metrics([[8, 2], [1, 9]], 0.85)
    payload = card.model_dump_json()
    assert all(name in payload for name in ("test_accuracy_interval", "precision", "recall"))
    assert Metrics.model_validate_json(payload) == card
