import asyncio
import threading
import time

import pytest

from app.errors import ClientDisconnected, QueueFull
from app.predict.predictor import never_disconnected
from app.predict.thread_pool import AdmissionPool

SOON = 30.0


@pytest.fixture
def crew():
    crew = AdmissionPool(1, "test")
    yield crew
    crew.close()


@pytest.fixture
def gate():
    return threading.Event()


def run(crew, gate, *others):
    """Let one piece of work hold the thread while the others come; give what became of them."""

    async def go():
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(crew.do(lambda _: gate.wait(10), loop.time() + SOON, never_disconnected))
        await asyncio.sleep(0)
        tasks = [
            asyncio.create_task(crew.do(work, loop.time() + left, is_gone))
            for work, left, is_gone in others
        ]
        await asyncio.sleep(0.1)
        gate.set()
        came = await asyncio.gather(*tasks, return_exceptions=True)
        assert await first
        return came

    return asyncio.run(go())


def test_work_is_done_in_its_turn(crew, gate):
    done = []
    others = [(lambda _, n=n: done.append(n) or n, SOON, never_disconnected) for n in range(5)]
    assert run(crew, gate, *others) == done == [0, 1, 2, 3, 4]
    assert crew.images == 0


def test_a_slow_piece_of_work_counts_more_than_a_quick_one(crew, gate):
    """Whoever is taken is answered in time where work is as slow for a while as it was just now."""
    crew.seconds = 0.2
    run(crew, gate, *[(lambda _: time.sleep(0.5), SOON, never_disconnected)] * 2)
    slow = crew.seconds
    assert slow > 0.2
    run(crew, gate, *[(lambda _: None, SOON, never_disconnected)] * 2)
    assert 0.2 < crew.seconds < slow


def test_who_would_wait_too_long_is_refused_at_once(crew, gate):
    crew.seconds = 10.0
    done = []
    (refused, taken) = run(crew, gate, (done.append, 11.0, never_disconnected), (lambda _: "done", 60.0, never_disconnected))
    assert isinstance(refused, QueueFull)
    assert refused.retry_after == 10
    assert (taken, done) == ("done", [])


def test_a_batch_is_as_long_as_it_has_images(crew, gate):
    crew.seconds = 1.0

    async def go():
        until = asyncio.get_running_loop().time() + SOON
        batch = asyncio.create_task(crew.do(lambda _: gate.wait(10), until, never_disconnected, images=100))
        await asyncio.sleep(0)
        busy = crew.busy(SOON)
        gate.set()
        await batch
        return busy

    assert asyncio.run(go()).retry_after == 100
    assert crew.busy(SOON) is None


def test_a_free_thread_takes_what_comes_however_long_work_took(crew):
    crew.seconds = 1000.0

    async def go():
        return await crew.do(lambda _: "done", asyncio.get_running_loop().time() + SOON, never_disconnected)

    assert asyncio.run(go()) == "done"
    assert crew.seconds < 1000.0, "and it is known that work takes less by now"


def test_whose_time_is_up_in_the_queue_is_not_begun(crew, gate):
    done = []
    (late,) = run(crew, gate, (lambda _: done.append(1), 0.01, never_disconnected))
    crew._pool.submit(int).result(10)
    assert isinstance(late, TimeoutError)
    assert done == []


def test_what_would_be_late_is_not_begun_while_another_waits(crew, gate):
    done = []

    def takes_long(_):
        gate.wait(10)
        crew.seconds = 3 * SOON

    async def go():
        until = asyncio.get_running_loop().time() + SOON
        tasks = [
            asyncio.create_task(crew.do(work, until, never_disconnected))
            for work in (takes_long, lambda _: done.append("late"), lambda _: "last")
        ]
        await asyncio.sleep(0.1)
        gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    _, late, last = asyncio.run(go())
    assert isinstance(late, TimeoutError)
    assert last == "last", "nobody waits behind it"
    assert "late" not in done


def test_who_hung_up_in_the_queue_is_not_begun(crew, gate):
    done = []
    (gone,) = run(crew, gate, (lambda _: done.append(1), SOON, lambda: True))
    assert isinstance(gone, ClientDisconnected)
    assert done == []
