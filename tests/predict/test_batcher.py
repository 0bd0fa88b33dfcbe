import asyncio

import numpy as np

from app.errors import NotReady
from app.predict.batcher import LARGEST, Batcher, WrongLength
from app.predict.model import Answer


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
        digits = pixels[:, 0, 0].tolist()
        return [Answer(digit, [], True, 1) for digit in digits[: len(digits) - self.drop]]


def image(digit):
    return np.full((28, 28), digit, np.uint8)


def run(live, digits, act=None):
    async def all_at_once():
        batcher = Batcher(live)
        tasks = [asyncio.create_task(batcher.answer(image(digit))) for digit in digits]
        if act:
            await asyncio.sleep(0)
            act(tasks)
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(all_at_once())


def test_what_arrives_together_goes_together_and_comes_back_in_place():
    live = Recorder()
    digits = [n % 10 for n in range(50)]
    assert [answer.digit for answer in run(live, digits)] == digits
    assert live.batches == [50]


def test_a_lone_image_does_not_wait_for_company():
    async def turns():
        batcher = Batcher(Recorder())
        task = asyncio.create_task(batcher.answer(image(3)))
        for turn in range(1, 10):
            await asyncio.sleep(0)
            if task.done():
                return turn
        return None

    assert asyncio.run(turns()) <= 3


def test_a_crowd_is_split():
    live = Recorder()
    digits = [n % 10 for n in range(2 * LARGEST + 5)]
    assert [answer.digit for answer in run(live, digits)] == digits
    assert live.batches == [LARGEST, LARGEST, 5]


def test_who_no_longer_waits_costs_no_forward():
    live = Recorder()
    answers = run(live, [1, 2, 3], act=lambda tasks: tasks[1].cancel())
    assert [getattr(answer, "digit", None) for answer in answers] == [1, None, 3]
    assert live.batches == [2]


def test_when_nobody_waits_there_is_no_forward():
    live = Recorder()
    run(live, [1], act=lambda tasks: tasks[0].cancel())
    assert live.batches == []


def test_an_error_reaches_everybody_and_the_next_batch_is_tried():
    live = Recorder(error=NotReady("not yet"))
    assert [str(answer) for answer in run(live, [1, 2])] == ["not yet", "not yet"]
    live.error = None
    assert run(live, [1])[0].digit == 1


def test_a_batch_that_comes_back_shorter_is_an_error_for_everybody():
    answers = run(Recorder(drop=1), [1, 2, 3])
    assert all(isinstance(answer, WrongLength) for answer in answers)


def test_rounds_follow_each_other():
    live = Recorder()

    async def go():
        batcher = Batcher(live)
        return [await batcher.answer(image(n)) for n in range(3)]

    assert [answer.digit for answer in asyncio.run(go())] == [0, 1, 2]
    assert live.batches == [1, 1, 1]
