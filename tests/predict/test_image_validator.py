"""Validation of an image to store: its deadline, its limit, and clients that hang up."""

import asyncio

import numpy as np

from app.errors import BlankImage, ClientDisconnected, DeadlineExceeded, QueueFull
from app.predict.image_decoders import ImageDecoders
from app.predict.image_validator import ImageValidator
from app.predict.predictor import never_disconnected
from app.telemetry.metrics import Metrics
from tests.conftest import png
from tests.decoders.pool import TIMEOUT


def run(settings, *uploads, is_cancelled=never_disconnected):
    """Return what each upload of a crowd gives: its pixels, or its error."""

    async def validate():
        async with ImageDecoders(settings, Metrics()).running() as decoders:
            validator = ImageValidator(settings, decoders)
            tasks = [validator.decode(upload, is_cancelled) for upload in uploads]
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert validator.in_flight == 0
            return results

    return asyncio.run(validate())


def test_validator_returns_grey_pixels_of_small_and_large_images(settings, seven, digits):
    large = np.kron(digits[1], np.ones((20, 20), np.uint8))
    slow_settings = settings.model_copy(update={"predict_timeout": TIMEOUT})
    first, second, blank = run(slow_settings, seven, png(large), png(np.zeros((50, 50), np.uint8)))
    assert np.array_equal(first, digits[0])
    assert np.array_equal(second, large)
    assert isinstance(blank, BlankImage)


def test_correction_over_the_limit_is_refused(settings, seven, digits):
    short_queue = settings.model_copy(update={"max_queue": 1, "predict_timeout": TIMEOUT})
    first, second = run(short_queue, seven, seven)
    assert np.array_equal(first, digits[0])
    assert isinstance(second, QueueFull) and second.retry_after == 1


def test_correction_over_its_deadline_is_given_up(settings, seven):
    (error,) = run(settings.model_copy(update={"predict_timeout": 1e-9}), seven)
    assert isinstance(error, DeadlineExceeded) and "not decoded within 1e-09 s" in str(error)


def test_correction_of_a_client_that_hung_up_is_not_decoded(settings, seven):
    (error,) = run(settings, seven, is_cancelled=lambda: True)
    assert isinstance(error, ClientDisconnected)
