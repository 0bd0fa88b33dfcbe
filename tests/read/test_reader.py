"""The read path: its limit, its deadline, clients that disconnect, and its decoders."""

import asyncio
from contextlib import closing
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from app.errors import (
    BlankImage,
    ClientDisconnected,
    DeadlineExceeded,
    NotAnImage,
    QueueFull,
    TooManyDigits,
)
from app.predict.predictor import never_disconnected
from app.read.local import read_sync
from app.read.reader import Reader
from tests.decoders.pool import TIMEOUT, open_pool
from tests.image.drawings import Sheet

MAX_PIXELS = 50_000_000


def encode(grey, form="PNG"):
    buffer = BytesIO()
    Image.fromarray(grey).save(buffer, form)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def seventy_one():
    sheet = Sheet(0, 240, 420)
    for digit, x in ((7, 120), (1, 300)):
        sheet.digit(digit, x, 120, 110)
    return encode(sheet.grey())


@pytest.fixture
def live(robust_model):
    return SimpleNamespace(get=lambda _version: robust_model)


@pytest.fixture
def run(settings, live):
    """Run a function of a reader with its own decoders."""

    def run(function, **changes):
        async def go():
            async with open_pool(settings) as decoders:
                changed = settings.model_copy(update={"predict_timeout": TIMEOUT, **changes})
                with closing(Reader(changed, live, decoders)) as reader:
                    return await function(reader)

        return asyncio.run(go())

    return run


def read(upload, is_cancelled=never_disconnected):
    return lambda reader: reader.read(upload, None, is_cancelled)


def test_decoder_and_this_process_read_the_same(run, robust_model, seventy_one):
    sheet = Sheet(4, 1200, 1600)
    sheet.pen = 40
    for digit, x, y in ((7, 300, 300), (0, 900, 320), (1, 400, 900), (4, 1100, 880)):
        sheet.digit(digit, x, y, 300)
    photo = encode(sheet.grey(), "BMP")

    async def read_both(reader):
        return [
            await reader.read(upload, None, never_disconnected) for upload in (seventy_one, photo)
        ]

    first, second = run(read_both)
    assert first == read_sync(seventy_one, robust_model, MAX_PIXELS)
    assert second == read_sync(photo, robust_model, MAX_PIXELS)
    assert (first.text, first.version) == ("71", robust_model.version)


def test_refusals_of_a_decoder_are_the_errors_of_its_upload(run):
    uploads = {b"no image": NotAnImage, encode(np.full((200, 200), 240, np.uint8)): BlankImage}

    async def read_all(reader):
        readings = (reader.read(upload, None, never_disconnected) for upload in uploads)
        return await asyncio.gather(*readings, return_exceptions=True)

    assert [type(error) for error in run(read_all)] == list(uploads.values())


def strokes(side, count, random):
    """Return a sheet with `count` strokes in each of `count` rows, none in line with another."""
    sheet = np.full((side, side), 235, np.uint8)
    step = side // count
    for top in range(0, side - step + 1, step):
        for left in range(0, side - step + 1, step):
            x, y = random.integers(1, step // 2, 2)
            sheet[top + y : top + y + step // 2, left + x : left + x + step // 4] = 20
    return sheet


def test_too_many_digits_are_refused_by_a_decoder(run):
    upload = encode(strokes(1000, 25, np.random.default_rng(1)))
    with pytest.raises(TooManyDigits, match="more than 500 pieces of ink"):
        run(read(upload))


def test_images_with_the_most_pieces_stay_within_the_memory_of_a_decoder(run):
    """50 megapixels. What a decoder refuses in words did not end it."""
    side = 7000
    chess = (np.indices((side // 14, side // 14)).sum(0) % 2).astype(np.uint8) * 255
    uploads = [
        encode(np.kron(chess, np.ones((14, 14), np.uint8))),
        encode(strokes(side, 90, np.random.default_rng(2))),
    ]

    async def read_all(reader):
        readings = [reader.read(upload, None, never_disconnected) for upload in uploads]
        outcomes = await asyncio.gather(*readings, return_exceptions=True)
        return outcomes, dict(reader.decoders.metrics.decoder_restarts)

    outcomes, restarts = run(read_all)
    assert [type(outcome) for outcome in outcomes] == [BlankImage, TooManyDigits]
    assert set(restarts) <= {"memory"}, "a decoder crashed, or was killed at its deadline"


def test_full_queue_is_refused(run, seventy_one):
    async def two_at_once(reader):
        readings = (reader.read(seventy_one, None, never_disconnected) for _ in range(2))
        return await asyncio.gather(*readings, return_exceptions=True)

    first, second = run(two_at_once, max_queue=1)
    assert first.text == "71"
    assert isinstance(second, QueueFull) and second.retry_after == 1


def test_reading_past_the_deadline_is_given_up(run, seventy_one):
    with pytest.raises(DeadlineExceeded, match=r"not read within 1e-09 s"):
        run(read(seventy_one), predict_timeout=1e-9)


def test_disconnected_client_costs_no_work(run, seventy_one):
    with pytest.raises(ClientDisconnected):
        run(read(seventy_one, lambda: True))
