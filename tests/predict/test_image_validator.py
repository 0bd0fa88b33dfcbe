"""Validation of an image to store: its deadline, its limit, and clients that hang up."""

import asyncio
from contextlib import closing

import numpy as np
import pytest

from app.errors import ClientDisconnected, DeadlineExceeded, QueueFull
from app.predict import preprocess
from app.predict.predictor import never_disconnected
from app.predict.preprocess import ImageValidator


def validate(settings, upload, is_cancelled=never_disconnected):
    with closing(ImageValidator(settings)) as validator:
        return asyncio.run(validator.decode(upload, is_cancelled))


def test_it_gives_the_grey_pixels(settings, seven, digits):
    assert np.array_equal(validate(settings, seven), digits[0])


def test_too_many_are_told_to_come_again(settings, seven):
    short_queue = settings.model_copy(update={"max_queue": 1})

    async def two_at_once(validator):
        validations = (validator.decode(seven, never_disconnected) for _ in range(2))
        return await asyncio.gather(*validations, return_exceptions=True)

    with closing(ImageValidator(short_queue)) as validator:
        first, second = asyncio.run(two_at_once(validator))
        assert np.array_equal(first, asyncio.run(validator.decode(seven, never_disconnected)))
    assert isinstance(second, QueueFull) and second.retry_after == 1


def test_what_takes_too_long_is_given_up(settings, seven):
    short_timeout = settings.model_copy(update={"predict_timeout": 1e-9})
    with pytest.raises(DeadlineExceeded, match="not decoded within 1e-09 s"):
        validate(short_timeout, seven)


def test_who_is_gone_costs_no_work(settings, seven, monkeypatch):
    monkeypatch.setattr(preprocess, "open_image", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ClientDisconnected):
        validate(settings, seven, lambda: True)
