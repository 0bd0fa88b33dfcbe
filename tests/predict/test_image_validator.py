"""A look at an image that is to be kept: in time, not too many, and for somebody."""

import asyncio
from contextlib import closing

import numpy as np
import pytest

from app.errors import ClientDisconnected, DeadlineExceeded, QueueFull
from app.predict import preprocess
from app.predict.predictor import never_disconnected
from app.predict.preprocess import ImageValidator


def looked(settings, upload, is_gone=never_disconnected):
    with closing(ImageValidator(settings)) as looking:
        return asyncio.run(looking.decode(upload, is_gone))


def test_it_gives_the_grey_pixels(settings, seven, digits):
    assert np.array_equal(looked(settings, seven), digits[0])


def test_too_many_are_told_to_come_again(settings, seven):
    one = settings.model_copy(update={"max_queue": 1})

    async def two_at_once(looking):
        looks = (looking.at(seven, never_disconnected) for _ in range(2))
        return await asyncio.gather(*looks, return_exceptions=True)

    with closing(ImageValidator(one)) as looking:
        first, second = asyncio.run(two_at_once(looking))
        assert np.array_equal(first, asyncio.run(looking.decode(seven, never_disconnected)))
    assert isinstance(second, QueueFull) and second.retry_after == 1


def test_what_takes_too_long_is_given_up(settings, seven):
    hasty = settings.model_copy(update={"predict_timeout": 1e-9})
    with pytest.raises(DeadlineExceeded, match="not decoded within 1e-09 s"):
        looked(hasty, seven)


def test_who_is_gone_costs_no_work(settings, seven, monkeypatch):
    monkeypatch.setattr(preprocess, "open_image", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ClientDisconnected):
        looked(settings, seven, lambda: True)
