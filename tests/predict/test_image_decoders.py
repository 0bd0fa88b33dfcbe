"""The pool of decoders: queues, deadlines, and processes that die."""

import asyncio
import os
import random
import signal
import struct
import sys
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.decoders.budget import DATA_BYTES, Lane
from app.errors import (
    BlankImage,
    ClientDisconnected,
    ImageTooLarge,
    NotAnImage,
    NotReady,
    QueueFull,
)
from app.image.normalise import normalise
from app.predict.local import preprocess
from app.predict.queues.urgency_queue import Urgency
from tests.conftest import png
from tests.decoders.pool import TIMEOUT, decoder_pids, open_pool, read
from tests.image.test_bombs import SLOW_IMAGES, jpeg

MAX_PIXELS = 50_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="it finds processes in /proc")


@pytest.fixture
def photo(digits):
    """A seven of 560 x 560 pixels and 314 kB."""
    return png(np.kron(digits[0], np.ones((20, 20), np.uint8)), "BMP")


@pytest.fixture
def small(digits):
    return png(digits[0], "JPEG")


def run(settings, function, **changes):
    async def go():
        async with open_pool(settings, **changes) as decoders:
            return await function(decoders)

    return asyncio.run(go())


def encode(image, form, **options):
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_decoder_returns_what_this_process_would(settings, photo, small):
    async def read_both(decoders):
        return [await read(decoders, upload) for upload in (photo, small)]

    for upload, decoded in zip((photo, small), run(settings, read_both), strict=True):
        expected = preprocess(upload, MAX_PIXELS)
        assert np.array_equal(decoded.normalised.pixels, expected.normalised.pixels)
        for name in ("inverted", "box", "shift"):
            assert getattr(decoded.normalised, name) == getattr(expected.normalised, name)
        assert decoded.scale == expected.scale
        assert decoded.decode_seconds > 0 and decoded.normalise_seconds > 0


def test_refusals_of_a_decoder_are_the_errors_of_its_upload(settings, small):
    lying = jpeg(65535, 65535)
    uploads = {b"no image": NotAnImage, lying: ImageTooLarge, small[:-200]: NotAnImage}
    uploads[png(np.zeros((50, 50), np.uint8))] = BlankImage

    async def read_all(decoders):
        outcomes = [await read(decoders, upload) for upload in uploads]
        return outcomes, await read(decoders, small), decoders.metrics.decoder_restarts

    outcomes, after, restarts = run(settings, read_all)
    assert [type(outcome) for outcome in outcomes] == list(uploads.values())
    assert after.normalised.pixels.any()
    assert not restarts


@pytest.mark.parametrize("upload", SLOW_IMAGES.values(), ids=SLOW_IMAGES)
def test_decoder_over_its_deadline_is_replaced_and_others_are_not_touched(settings, upload, small):
    async def read_slow(decoders):
        before = decoders.processes
        slow = asyncio.create_task(read(decoders, upload, 0.1))
        outcomes = await asyncio.gather(*(read(decoders, small) for _ in range(5)))
        outcome = await slow
        async with asyncio.timeout(TIMEOUT):  # else the one that was given up works on
            while decoders.processes != before:
                await asyncio.sleep(0.01)
        return outcome, outcomes, decoders.metrics.decoder_restarts, await read(decoders, small)

    slow, outcomes, restarts, after = run(settings, read_slow)
    if isinstance(slow, TimeoutError):  # a fast machine may have read it
        assert restarts["deadline"] == 1
    for outcome in (*outcomes, after):
        assert outcome.normalised.pixels.any()


def test_decoder_whose_client_disconnected_is_replaced(settings, photo):
    checks = iter([False, True])
    slow = SLOW_IMAGES["pixels_one_by_one"]

    async def read_slow(decoders):
        outcome = await read(decoders, slow, is_cancelled=lambda: next(checks, True))
        return outcome, decoders.metrics.decoder_restarts, await read(decoders, photo)

    outcome, restarts, after = run(settings, read_slow)
    assert isinstance(outcome, ClientDisconnected)
    assert restarts["cancelled"] == 1
    assert after.normalised.pixels.any()


@linux
def test_crash_refuses_its_upload_alone(settings, photo, monkeypatch):
    monkeypatch.setattr("app.decoders.process.EXIT_TIMEOUT", TIMEOUT)  # else it is no crash

    async def crash(decoders):
        await read(decoders, photo)  # by now, the decoders run
        waiting = [asyncio.create_task(read(decoders, photo)) for _ in range(4)]
        await stop_a_busy_decoder(decoders, signal.SIGSEGV)
        return await asyncio.gather(*waiting), decoders.metrics.decoder_restarts

    outcomes, restarts = run(settings, crash)
    assert restarts == {"crash": 1}
    refused = [outcome for outcome in outcomes if isinstance(outcome, NotAnImage)]
    assert len(refused) == 1 and "crashed" in refused[0].detail
    assert sum(hasattr(outcome, "normalised") for outcome in outcomes) == 3


async def stop_a_busy_decoder(decoders, number):
    """End a decoder with a signal while it reads an image."""
    while decoders._idle[Lane.PHOTO]:
        await asyncio.sleep(0)
    busy = set(decoder_pids(decoders))
    for pid in busy:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(0.05)
    for pid in busy:
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)


@linux
def test_decoders_killed_at_random_under_load_lose_no_request(settings, photo, small):
    rng = random.Random(5)

    async def load(decoders):
        uploads = [photo, small] * 100
        outcomes = []
        for start in range(0, len(uploads), 20):
            some = (read(decoders, upload) for upload in uploads[start : start + 20])
            reading = asyncio.gather(*some)
            await asyncio.sleep(rng.uniform(0, 0.02))
            if pids := decoder_pids(decoders):
                with suppress(ProcessLookupError):  # one that was killed before
                    os.kill(rng.choice(pids), signal.SIGKILL)
            outcomes += await reading
        return outcomes, decoders.metrics.decoder_restarts

    outcomes, restarts = run(settings, load, decoders=2)
    assert restarts["killed"] > 0
    assert [outcome for outcome in outcomes if not hasattr(outcome, "normalised")] == []


@linux
@pytest.mark.usefixtures("started_templates")
def test_template_that_is_killed_is_started_again(settings, photo):
    async def kill(decoders):
        assert (await read(decoders, photo)).normalised.pixels.any()
        await asyncio.sleep(1)  # two starts within a second are refused
        await kill_template(decoders)
        outcomes = await asyncio.gather(*(read(decoders, photo) for _ in range(4)))
        return outcomes, decoders._fork_server.starts

    outcomes, starts = run(settings, kill)
    assert starts == 2
    assert all(hasattr(outcome, "normalised") for outcome in outcomes)


@linux
@pytest.mark.usefixtures("started_templates")
def test_template_that_ends_at_once_is_not_started_in_a_loop(settings, photo, monkeypatch):
    monkeypatch.setattr("app.decoders.fork_server.RESTART_INTERVAL", 2 * TIMEOUT)

    async def kill(decoders):
        await kill_template(decoders)
        outcomes = [await read(decoders, photo) for _ in range(2)]
        return outcomes, decoders._fork_server.starts

    outcomes, starts = run(settings, kill)
    assert [type(outcome) for outcome in outcomes] == [NotReady, NotReady]
    assert starts == 1


async def kill_template(decoders):
    """Kill the template, and wait until the server knows: its decoders are killed by then, too."""
    os.kill(decoders._fork_server._process.pid, signal.SIGKILL)
    while decoders._fork_server._process:
        await asyncio.sleep(0.01)


def test_animated_webp_with_a_huge_canvas_is_refused_in_words(settings):
    """94 bytes: its decoder would take 16 bytes for each of 49 million pixels."""
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in (7001, 7001))
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + canvas
    upload = b"RIFF" + struct.pack("<I", len(body)) + body

    async def read_it(decoders):
        return await read(decoders, upload)

    error = run(settings, read_it)
    assert isinstance(error, ImageTooLarge) and "MiB" in error.detail


@pytest.mark.parametrize(
    ("form", "options"),
    [("PNG", {"compress_level": 1}), ("JPEG", {"progressive": True}), ("WEBP", {"method": 0})],
)
def test_image_of_49_megapixels_is_read(settings, form, options):
    side = 7000
    image = Image.new("RGB", (side, side), "white")
    image.paste("black", (side * 4 // 10, side // 5, side // 2, side * 4 // 5))
    upload = encode(image, form, **options)
    del image

    async def read_it(decoders):
        return await read(decoders, upload)

    assert run(settings, read_it).normalised.pixels.any()


def test_decoder_that_grew_is_replaced(settings):
    upload = png(np.zeros((7000, 7000, 3), np.uint8))  # 225 MB, and blank

    async def read_it(decoders):
        outcome = await read(decoders, upload)
        return outcome, decoders.metrics.decoder_restarts

    outcome, restarts = run(settings, read_it)
    assert isinstance(outcome, BlankImage)
    assert restarts == {"memory": 1}


def test_small_upload_waits_for_no_photo(settings, small):
    slow, is_over = SLOW_IMAGES["pixels_one_by_one"], asyncio.Event()

    async def mix(decoders):
        photos = [
            asyncio.create_task(read(decoders, slow, is_cancelled=is_over.is_set)) for _ in range(4)
        ]
        await asyncio.sleep(0)
        assert (await read(decoders, small)).normalised.pixels.any()
        waiting = [task for task in photos if not task.done()]
        is_over.set()
        await asyncio.gather(*photos)
        return len(waiting)

    assert run(settings, mix) > 2


def test_full_queue_refuses_further_photos_but_no_small_upload(settings, photo, small):
    async def fill(decoders):
        decoders._queues[Lane.PHOTO].admission.seconds = 30.0
        first = asyncio.create_task(read(decoders, photo))
        await asyncio.sleep(0)
        assert isinstance(decoders.check_capacity(len(photo), 2.0), QueueFull)
        assert decoders.check_capacity(len(small), 2.0) is None
        refused = await read(decoders, photo, 2.0)
        return await first, refused, await read(decoders, small)

    first, refused, other = run(settings, fill)
    assert first.normalised.pixels.any() and other.normalised.pixels.any()
    assert isinstance(refused, QueueFull) and refused.retry_after == 30


def test_correction_and_batch_let_later_photos_go_first(settings, photo):
    done = []

    async def fill(decoders):
        deadline = asyncio.get_running_loop().time() + TIMEOUT

        async def decode(urgency):
            await decoders.read_digit(photo, deadline, lambda: False, urgency)
            done.append(urgency)

        order = [Urgency.SINGLE, Urgency.CORRECTION, Urgency.BATCH, Urgency.SINGLE]
        await asyncio.gather(*(decode(urgency) for urgency in order))

    run(settings, fill)
    assert done == [Urgency.SINGLE, Urgency.SINGLE, Urgency.BATCH, Urgency.CORRECTION]


def test_budgets_of_two_decoders_are_within_the_bound_of_the_service():
    total = sum(DATA_BYTES.values())
    assert total <= 550 * 2**20


def test_invalid_reply_refuses_the_upload_and_replaces_the_decoder(settings, photo, monkeypatch):
    async def read_it(decoders):
        monkeypatch.setattr("app.decoders.process.MAX_HEAD_BYTES", 1)
        outcome = await read(decoders, photo)
        monkeypatch.undo()
        return outcome, decoders.metrics.decoder_restarts, await read(decoders, photo)

    outcome, restarts, after = run(settings, read_it)
    assert isinstance(outcome, NotAnImage)
    assert restarts == {"crash": 1}
    assert after.normalised.pixels.any()


def test_pixels_are_those_of_mnist_form(settings, digits):
    grey = np.kron(digits[0], np.ones((20, 20), np.uint8))

    async def read_it(decoders):
        return await read(decoders, png(grey))

    assert np.array_equal(run(settings, read_it).normalised.pixels, normalise(grey).pixels)
