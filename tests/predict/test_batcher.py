import asyncio
import gc
from contextlib import suppress

import numpy as np
import pytest

from app.errors import BlankImage, ClientDisconnected, NotReady
from app.image.normalise import Normalised
from app.predict import preprocess as preprocess_module
from app.predict.answers import BatchAnswers
from app.predict.batcher import MAX_BATCH_SIZE, Batcher, BatchSizeMismatch
from app.predict.predictor import never_disconnected
from app.predict.preprocess import PreprocessedImage
from app.telemetry.metrics import Metrics
from tests.conftest import png

MAX_PIXELS = 10**6


class Recorder:
    """A model that reads the digit from the first pixel and remembers its batches."""

    def __init__(self, error=None, drop=0):
        self.error, self.drop, self.batches = error, drop, []

    @property
    def model(self):
        return self

    def answer(self, pixels):
        self.batches.append(len(pixels))
        if self.error:
            raise self.error
        digits = pixels[: len(pixels) - self.drop, 0, 0]
        shape = len(digits)
        return BatchAnswers(digits, np.zeros((shape, 10)), np.ones(shape, bool), 1)


def image(digit):
    return PreprocessedImage(
        Normalised(np.full((28, 28), digit, np.uint8), False, (0, 0, 1, 1), (0, 0)), 1.0
    )


def run(live, uploads, act=None, deadline=lambda loop: loop.time() + 60, disconnected=()):
    """Return what each upload got: its digit, or its error."""

    async def all_at_once():
        batcher, loop = Batcher(live, MAX_PIXELS, Metrics()), asyncio.get_running_loop()
        tasks = [
            asyncio.create_task(
                batcher.predict(
                    upload,
                    deadline(loop),
                    (lambda: True) if index in disconnected else never_disconnected,
                )
            )
            for index, upload in enumerate(uploads)
        ]
        if act:
            await asyncio.sleep(0)
            act(tasks)
        return await asyncio.gather(*tasks, return_exceptions=True)

    return [getattr(outcome, "answer", outcome) for outcome in asyncio.run(all_at_once())]


def digits_of(answers):
    return [getattr(answer, "digit", None) for answer in answers]


def test_what_arrives_together_goes_together_and_comes_back_in_place():
    live = Recorder()
    digits = [n % 10 for n in range(50)]
    assert digits_of(run(live, map(image, digits))) == digits
    assert live.batches == [50]


def test_a_lone_image_does_not_wait_for_company():
    async def count_iterations():
        batcher = Batcher(Recorder(), MAX_PIXELS, Metrics())
        task = asyncio.create_task(batcher.predict(image(3), float("inf"), never_disconnected))
        for iteration in range(1, 10):
            await asyncio.sleep(0)
            if task.done():
                return iteration
        return None

    assert asyncio.run(count_iterations()) <= 3


def test_after_a_batch_of_several_the_next_one_waits_for_one_turn_more():
    live = Recorder()

    async def two_batches(first):
        batcher = Batcher(live, MAX_PIXELS, Metrics())

        def send(digit):
            upload = image(digit)
            return asyncio.create_task(batcher.predict(upload, float("inf"), never_disconnected))

        await asyncio.gather(*map(send, first))
        early = send(1)
        await asyncio.sleep(0)  # it is in the queue
        late = send(2)
        return await asyncio.gather(early, late)

    asyncio.run(two_batches([5, 6, 7]))
    assert live.batches == [3, 2], "the late one joins"
    live.batches.clear()
    asyncio.run(two_batches([5]))
    assert live.batches == [1, 1, 1], "clients that come one by one do not wait"


def test_a_crowd_is_split():
    live = Recorder()
    digits = [n % 10 for n in range(2 * MAX_BATCH_SIZE + 5)]
    assert digits_of(run(live, map(image, digits))) == digits
    assert live.batches == [MAX_BATCH_SIZE, MAX_BATCH_SIZE, 5]


def test_uploads_are_seen_here_where_they_are_small(mnist):
    uploads = [png(pixels.numpy()) for pixels in mnist.test.pixels[:3]]
    live = Recorder()
    assert digits_of(run(live, uploads)) == [0, 0, 0], "the first pixel of each is black"
    assert live.batches == [3]


def test_a_bad_file_harms_nobody(mnist):
    good = png(mnist.test.pixels[0].numpy())
    live = Recorder()
    blank = png(np.zeros((28, 28), np.uint8))
    answers = run(live, [good, b"no image", image(4), blank, good])
    assert digits_of(answers) == [0, None, 4, None, 0]
    assert answers[1] is None, "a decoder says what is wrong with it"
    assert isinstance(answers[3], BlankImage)
    assert live.batches == [3]


def test_what_breaks_the_reading_of_one_harms_nobody_else(mnist, monkeypatch):
    good = png(mnist.test.pixels[0].numpy())
    monkeypatch.setattr(preprocess_module, "normalise", lambda _: 1 / 0)
    answers = run(Recorder(), [image(1), good, image(2)])
    assert digits_of(answers) == [1, None, 2]
    assert isinstance(answers[1], ZeroDivisionError)


def test_large_image_is_left_to_a_decoder(mnist):
    photo = png(np.kron(mnist.test.pixels[0].numpy(), np.ones((20, 20), np.uint8)))
    live = Recorder()
    answers = run(live, [photo, image(5), bytes(100_000)])
    assert digits_of(answers) == [None, 5, None]
    assert answers[0] is answers[2] is None
    assert live.batches == [1]


def test_who_no_longer_waits_costs_no_forward():
    live = Recorder()
    answers = run(live, map(image, [1, 2, 3]), act=lambda tasks: tasks[1].cancel())
    assert digits_of(answers) == [1, None, 3]
    assert live.batches == [2]


def test_when_nobody_waits_there_is_no_forward():
    live = Recorder()
    run(live, [image(1)], act=lambda tasks: tasks[0].cancel())
    assert live.batches == []


def test_who_hung_up_costs_no_work_at_all(monkeypatch):
    live = Recorder()
    monkeypatch.setattr(preprocess_module, "read_plain_png", lambda *_: pytest.fail("it was read"))
    answers = run(live, [image(1), b"is not even looked at", image(3)], disconnected=[1, 2])
    assert digits_of(answers) == [1, None, None]
    assert {type(answer) for answer in answers[1:]} == {ClientDisconnected}
    assert live.batches == [1]


def test_whose_time_is_over_costs_no_forward():
    live = Recorder()
    answers = run(live, [image(1)], deadline=lambda loop: loop.time() - 1)
    assert isinstance(answers[0], TimeoutError)
    assert live.batches == []


def test_an_error_reaches_everybody_and_the_next_batch_is_tried():
    live = Recorder(error=NotReady("not yet"))
    assert [str(answer) for answer in run(live, map(image, [1, 2]))] == ["not yet", "not yet"]
    live.error = None
    assert run(live, [image(1)])[0].digit == 1


def test_a_batch_that_comes_back_shorter_is_an_error_for_everybody():
    answers = run(Recorder(drop=1), map(image, [1, 2, 3]))
    assert all(isinstance(answer, BatchSizeMismatch) for answer in answers)


@pytest.mark.parametrize("kind", ["blank", "large"])
def test_what_is_not_answered_stays_in_memory_no_longer(mnist, kind):
    photo = png(np.kron(mnist.test.pixels[0].numpy(), np.ones((20, 20), np.uint8)))
    content = photo if kind == "large" else png(np.zeros((28, 28), np.uint8))
    freed = []

    class Upload(bytes):
        def __del__(self):
            freed.append(kind)

    async def go():
        batcher = Batcher(Recorder(), MAX_PIXELS, Metrics())
        for _ in range(3):
            with suppress(BlankImage):
                await batcher.predict(Upload(content), float("inf"), never_disconnected)
        await asyncio.sleep(0)
        return len(freed)

    gc.disable()
    try:
        assert asyncio.run(go()) == 3
    finally:
        gc.enable()


def test_rounds_follow_each_other():
    live = Recorder()

    async def go():
        batcher = Batcher(live, MAX_PIXELS, Metrics())
        return [await batcher.predict(image(n), float("inf"), never_disconnected) for n in range(3)]

    assert [result.answer.digit for result in asyncio.run(go())] == [0, 1, 2]
    assert live.batches == [1, 1, 1]
