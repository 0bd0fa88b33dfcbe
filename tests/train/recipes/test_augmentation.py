import pytest
import torch

from app.train.recipes.augmentation import Augment


@pytest.fixture(scope="module")
def digits(mnist):
    return mnist.train.pixels[:400].float() / 255


def test_digits_stay_digits_and_are_changed_anew(digits):
    torch.manual_seed(1)
    augment = Augment()
    first, second = augment(digits.clone()), augment(digits.clone())
    for changed in (first, second):
        assert changed.shape == digits.shape
        assert changed.dtype == torch.float32
        assert 0 <= changed.min() <= changed.max() <= 1
        assert 0.5 < changed.sum() / digits.sum() < 1.5
    assert not torch.equal(first, second)
    similarity = torch.nn.functional.cosine_similarity(first.flatten(1), digits.flatten(1))
    assert 0.5 < similarity.median() < 0.97


def test_what_is_drawn_comes_from_torchs_random_state(digits):
    augment, samples = Augment(), []
    for _ in range(2):
        torch.manual_seed(7)
        samples.append(augment(digits.clone()))
    assert torch.equal(*samples)


EFFECTS = (
    "MAX_ROTATION",
    "SHEAR",
    "STRETCH",
    "SHIFT",
    "ELASTIC",
    "STROKE_WIDTH_PROBABILITY",
    "CAMERA_DEFECT_PROBABILITY",
)


def test_without_strength_nothing_moves(digits, monkeypatch):
    for name in EFFECTS:
        monkeypatch.setattr(f"app.train.recipes.augmentation.{name}", 0.0)
    assert torch.allclose(Augment()(digits.clone()), digits, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "value", "low", "high"),
    [("SHIFT", 3.0, 1.2, 2.3), ("ELASTIC", 2.0, 0.1, 1.5), ("SHEAR", 0.5, 0.0, 0.2)],
)
def test_displacements_are_as_large_as_they_say(monkeypatch, name, value, low, high):
    """A dot in the middle is moved by so many pixels on average."""
    for other in EFFECTS:
        monkeypatch.setattr(
            f"app.train.recipes.augmentation.{other}", value if other == name else 0.0
        )
    torch.manual_seed(1)
    dots = torch.zeros(500, 28, 28)
    dots[:, 13:15, 13:15] = 1
    moved = Augment()(dots)
    positions = torch.arange(28.0)
    mass = moved.sum((1, 2))
    shift_x = (moved.sum(1) * positions).sum(1) / mass - 13.5
    shift_y = (moved.sum(2) * positions).sum(1) / mass - 13.5
    assert low <= torch.cat([shift_x, shift_y]).abs().mean() <= high


def test_an_image_of_one_tone_keeps_it(monkeypatch):
    """An edge that went dark would give an image of nothing a shape."""
    for name in ("STROKE_WIDTH_PROBABILITY", "CAMERA_DEFECT_PROBABILITY"):
        monkeypatch.setattr(f"app.train.recipes.augmentation.{name}", 0.0)
    assert torch.allclose(Augment()(torch.full((50, 28, 28), 0.4)), torch.tensor(0.4))
