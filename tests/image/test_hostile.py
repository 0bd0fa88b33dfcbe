"""Whatever arrives, there is a digit in MNIST's form or a refusal: nothing else."""

from collections import Counter

import numpy as np
import pytest

from app.errors import BlankImage, NotAnImage, ServiceError
from app.image.decode import open_image, to_grey
from app.image.normalise import normalise
from tests.conftest import png

SHAPES = [(1, 1), (1, 2), (3, 1024), (1024, 3), (1, 700), (47, 49), (60, 1000), (2, 60), (300, 300)]


def drawings(shape, random):
    """Noise, a mark, a gradient, stripes: tones that a digit may or may not have."""
    height, width = shape
    mark = np.zeros(shape, np.uint8)
    mark[: max(1, height // 2), width // 3 : width // 3 + max(1, width // 8)] = 255
    ramp = np.linspace(0, 255, height * width).reshape(shape).astype(np.uint8)
    noise = random.integers(0, 256, shape, np.uint8)
    stripes = np.tile(np.where(np.arange(width) % 7 < 2, 255, 30).astype(np.uint8), (height, 1))
    return [mark, 255 - mark, ramp, noise, stripes, np.maximum(mark, noise // 4)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_read_or_refused(shape):
    random = np.random.default_rng(5)
    for drawing in drawings(shape, random):
        try:
            normalised = normalise(drawing)
        except BlankImage:
            continue
        assert (normalised.pixels.shape, normalised.pixels.dtype) == ((28, 28), np.uint8)
        assert normalised.pixels.any()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_every_broken_file_is_read_or_refused(mnist, form):
    random = np.random.default_rng(6)
    whole = png(np.kron(mnist.test.pixels[0].numpy(), np.ones((3, 3), np.uint8)), form)
    outcomes = Counter()
    for attempt in range(120):
        broken = bytearray(whole)
        for place in random.integers(0, len(broken), 4):
            broken[place] = random.integers(0, 256)
        is_cut = attempt % 2  # which few forms are read from, however little is lacking
        upload = bytes(broken[: random.integers(1, len(broken))] if is_cut else broken)
        try:
            normalise(to_grey(open_image(upload, 10**6)).pixels)
            outcomes["read"] += 1
        except ServiceError:
            outcomes["refused"] += 1
    assert set(outcomes) == {"read", "refused"}


def test_a_truncated_file_is_told_from_a_whole_one(mnist):
    whole = png(mnist.test.pixels[0].numpy())
    with pytest.raises(NotAnImage, match="truncated"):
        to_grey(open_image(whole[:-40], 10**6))


def test_deep_pixels_of_a_large_image_are_scaled(mnist):
    digit = np.kron(mnist.test.pixels[0].numpy(), np.ones((50, 50), np.uint8)).astype(np.uint16)
    grey = to_grey(open_image(png(digit * 257), 10**7))
    assert (max(grey.pixels.shape), grey.size) == (1024, (1400, 1400))
    assert grey.pixels.max() == 255
    assert normalise(grey.pixels).pixels.any()
