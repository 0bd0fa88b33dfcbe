"""Uploads of a batch are preprocessed together, as each alone."""

import numpy as np

from app.errors import BlankImage
from app.predict.preprocess import PreprocessedImage, from_mnist_pixels, preprocess_if_small
from app.predict.preprocess_batch import MIN_TOGETHER, preprocess_batch
from tests.conftest import png

MAX_PIXELS = 10**6


def assert_as_alone(outcome, upload):
    single = preprocess_if_small(upload, MAX_PIXELS)
    assert isinstance(outcome, PreprocessedImage)
    assert np.array_equal(outcome.normalised.pixels, single.normalised.pixels)
    assert outcome.normalised[1:] == single.normalised[1:]
    assert outcome.scale == single.scale


def test_each_comes_out_as_alone(mnist):
    pixels = mnist.test.pixels[:30].numpy()
    drawings = [np.kron(255 - image, np.ones((3, 3), np.uint8)) for image in pixels[:3]]
    in_colour = np.repeat(pixels[2][..., None], 3, axis=2)
    others = [*drawings, pixels[0] // 2, 255 - pixels[1], in_colour]
    uploads = [png(image) for image in [*pixels, *others]]
    for count in (1, MIN_TOGETHER - 1, len(uploads)):
        outcomes = preprocess_batch(uploads[:count], MAX_PIXELS)
        for outcome, upload in zip(outcomes, uploads, strict=False):
            assert_as_alone(outcome, upload)


def test_errors_and_preprocessed_images_stay_in_their_place(mnist):
    good, ready = (
        png(mnist.test.pixels[0].numpy()),
        from_mnist_pixels(mnist.test.pixels[1].numpy(), "image"),
    )
    uploads = [good, b"no image", ready, png(np.zeros((28, 28), np.uint8)), good[:60]] * 3
    outcomes = preprocess_batch(uploads, MAX_PIXELS)
    kinds = [PreprocessedImage, type(None), PreprocessedImage, BlankImage, type(None)] * 3
    assert [type(outcome) for outcome in outcomes] == kinds
    assert outcomes[2] is ready
