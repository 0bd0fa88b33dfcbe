"""All images of a batch are looked at together, with the results of one at a time."""

import numpy as np
import pytest

from app.image.mnist_format import BARE, FAINT, PEAK, detect_mnist_format, detect_mnist_formats


def assert_same(greys):
    """Compare, and return how many have MNIST's form."""
    together = detect_mnist_formats(greys)
    for index, grey in enumerate(greys):
        single = detect_mnist_format(grey)
        assert together.has_form[index] == (single is not None)
        if single:
            assert np.array_equal(together.pixels[index], single.pixels)
            assert together.inverted[index] == single.inverted
            assert tuple(together.boxes[index]) == single.box
    return int(together.has_form.sum())


def test_all_test_images_and_their_inverse(mnist):
    pixels = mnist.test.pixels.numpy()
    assert assert_same(pixels) == assert_same(255 - pixels) == 9999


@pytest.mark.parametrize("change", ["faint", "moved", "noisy", "grey", "random"])
def test_images_that_are_nearly_in_the_form(mnist, change):
    pixels, rng = mnist.test.pixels[:500].numpy(), np.random.default_rng(3)
    noise = rng.integers(-60, 60, pixels.shape)
    changed = {
        "faint": lambda: np.minimum(pixels, rng.integers(PEAK - 2, PEAK + 2, (500, 1, 1))),
        "moved": lambda: np.roll(pixels, 1, 1 + rng.integers(2)),
        "noisy": lambda: np.clip(pixels + noise, 0, 255),
        "grey": lambda: np.maximum(pixels, rng.integers(BARE - 1, BARE + 3, (500, 1, 1))),
        "random": lambda: rng.integers(0, 256, pixels.shape),
    }[change]()
    assert_same(changed.astype(np.uint8))


def test_blank_images_and_single_strokes():
    greys = np.stack([np.full((28, 28), tone, np.uint8) for tone in range(256)])
    assert assert_same(greys) == 0
    strokes = np.zeros((60, 28, 28), np.uint8)
    for index, stroke in enumerate(strokes):
        top = index % 6
        stroke[top : top + 17 + index // 15, 13:15] = (FAINT, FAINT + 1, PEAK - 1, PEAK)[index % 4]
    assert 0 < assert_same(strokes) < 60
