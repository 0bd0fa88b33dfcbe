import numpy as np
import pytest
import torch

from app.image.normalise import normalise
from app.train.evaluation.evaluate import logits_of
from app.train.recipes.dataset import Digits
from app.train.recipes.synthetic import negatives
from app.train.recipes.synthetic.digits import draw_digit
from app.train.recipes.synthetic.glyphs import draw_sign
from app.train.recipes.synthetic.negatives import DIGIT_LIKE_SIGNS, SIGNS, draw_negative
from app.versions.registry import Registry


def make_rng():
    return np.random.default_rng(3)


def draw_negatives(digits, count):
    random, pixels = make_rng(), digits.pixels.numpy()
    return np.stack([draw_negative(random, pixels, number) for number in range(count)])


def draw_digits(digits, count):
    random = make_rng()
    pixels, labels = zip(*(draw_digit(random, digits) for _ in range(count)), strict=True)
    return Digits(torch.from_numpy(np.stack(pixels)), torch.tensor(labels))


def test_negatives_are_pictures_in_mnists_form(few_digits):
    drawn = draw_negatives(few_digits, 130)
    assert drawn.shape == (130, 28, 28)
    assert drawn.dtype == np.uint8
    assert (drawn.max((1, 2)) > 100).mean() > 0.9, "few show nothing"
    assert len(np.unique(drawn, axis=0)) >= 129


def test_the_same_chance_draws_the_same(few_digits):
    first, second = (draw_negatives(few_digits, 40) for _ in range(2))
    assert np.array_equal(first, second)


def test_no_sign_is_written_as_a_digit_is():
    assert not DIGIT_LIKE_SIGNS & set(SIGNS)
    assert not set("0123456789") & set(SIGNS)


def test_a_lone_digit_is_never_a_negative(few_digits):
    """Of several digits normalisation may keep one."""
    digit = few_digits.pixels[0].numpy()
    assert negatives._normalised_or_none(np.pad(digit, 40)) is None
    assert (
        negatives._normalised_or_none(np.pad(np.concatenate([digit[:, 5:-5]] * 3, 1), 40))
        is not None
    )


@pytest.mark.parametrize("width", [8, 30])
def test_a_bar_that_stands_is_a_one(width):
    picture = np.zeros((64, 64), np.uint8)
    picture[4:60, 30 : 30 + width] = 255
    assert (negatives._normalised_or_none(picture) is None) == (width == 8)


def test_signs_differ_each_time_and_show():
    rng = make_rng()
    drawn = [draw_sign(rng, "7") for _ in range(20)]
    assert all(glyph.shape == (64, 64) and (glyph > 200).sum() > 60 for glyph in drawn)
    assert len({glyph.tobytes() for glyph in drawn}) == 20


def test_uploads_show_their_labels(few_digits, registry):
    """Where the documented network, which never saw such, reads four of five, labels are right."""
    drawn = draw_digits(few_digits, 300)
    assert set(drawn.labels.tolist()) == set(range(10))
    net = registry_net(registry)
    predictions = logits_of(net, drawn.pixels, "cpu").argmax(1)
    assert (predictions == drawn.labels).float().mean() > 0.7


def registry_net(registry: Registry):
    from app.torch_net import net_with

    net = net_with(registry.weights(registry.current()))
    return net


def test_uploads_are_what_normalisation_gives(few_digits):
    for pixels in draw_digits(few_digits, 20).pixels.numpy():
        assert pixels.shape == (28, 28)
        assert normalise(pixels).pixels.max() > 0
