import asyncio
import threading
import time

import pytest

from app.errors import ClientDisconnected, QueueFull
from app.predict.predictor import never_disconnected
from app.predict.queues.thread_pool import AdmissionPool

TIMEOUT = 120.0


@pytest.fixture
def pool():
    pool = AdmissionPool(1, "test")
    yield pool
    pool.close()


@pytest.fixture
def gate():
    return threading.Event()


def run(pool, gate, *others):
    """Hold the thread with one piece of work while others come; return their outcomes."""

    async def go():
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(
            pool.submit(lambda _: gate.wait(TIMEOUT), loop.time() + TIMEOUT, never_disconnected)
        )
        await asyncio.sleep(0)
        tasks = [
            asyncio.create_task(pool.submit(work, loop.time() + timeout, is_cancelled))
            for work, timeout, is_cancelled in others
        ]
        await asyncio.sleep(0.1)
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert await first
        return results

    return asyncio.run(go())


def test_work_is_done_in_its_turn(pool, gate):
    done = []
    others = [(lambda _, n=n: done.append(n) or n, TIMEOUT, never_disconnected) for n in range(5)]
    assert run(pool, gate, *others) == done == [0, 1, 2, 3, 4]
    assert pool.admission.images == 0


def test_a_slow_piece_of_work_counts_more_than_a_quick_one(pool, gate):
    """Accepted work ends in time if the following work is as slow as the work just done."""
    pool.admission.seconds = 0.2
    run(pool, gate, *[(lambda _: time.sleep(0.5), TIMEOUT, never_disconnected)] * 2)
    slow = pool.admission.seconds
    assert slow > 0.2
    run(pool, gate, *[(lambda _: None, TIMEOUT, never_disconnected)] * 2)
    assert 0.2 < pool.admission.seconds < slow


def test_who_would_wait_too_long_is_refused_at_once(pool, gate):
    pool.admission.seconds = 10.0
    done = []
    (rejected, accepted) = run(
        pool,
        gate,
        (done.append, 11.0, never_disconnected),
        (lambda _: "done", 60.0, never_disconnected),
    )
    assert isinstance(rejected, QueueFull)
    assert rejected.retry_after == 10
    assert (accepted, done) == ("done", [])


def test_a_refusal_asks_to_wait_for_a_second_at_least(pool):
    pool.admission.images, past_deadline = 1, -1.0
    assert pool.admission.seconds == 0, "no work has been done yet"
    assert pool.admission.check_capacity(past_deadline).retry_after == 1


def test_a_batch_is_as_long_as_it_has_images(pool, gate):
    pool.admission.seconds = 1.0

    async def go():
        deadline = asyncio.get_running_loop().time() + TIMEOUT
        batch = asyncio.create_task(
            pool.submit(lambda _: gate.wait(TIMEOUT), deadline, never_disconnected, images=100)
        )
        await asyncio.sleep(0)
        busy = pool.admission.check_capacity(TIMEOUT)
        gate.set()
        await batch
        return busy

    assert asyncio.run(go()).retry_after == 100
    assert pool.admission.check_capacity(TIMEOUT) is None


def test_a_free_thread_takes_what_comes_however_long_work_took(pool):
    pool.admission.seconds = 1000.0

    async def go():
        return await pool.submit(
            lambda _: "done", asyncio.get_running_loop().time() + TIMEOUT, never_disconnected
        )

    assert asyncio.run(go()) == "done"
    assert pool.admission.seconds < 1000.0, "and it is known that work takes less by now"


def test_whose_time_is_up_in_the_queue_is_not_begun(pool, gate):
    done = []

    async def go():
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(
            pool.submit(lambda _: gate.wait(TIMEOUT), loop.time() + TIMEOUT, never_disconnected)
        )
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):  # in no task, so that it is in the queue at once
            await pool.submit(lambda _: done.append(1), loop.time() + 0.5, never_disconnected)
        gate.set()
        assert await first

    asyncio.run(go())
    pool._pool.submit(int).result(TIMEOUT)
    assert done == []


def test_work_that_misses_its_deadline_learns_that_nobody_waits(pool):
    started, ended, seconds = threading.Event(), [], 0.2

    def work(is_cancelled):
        started.set()
        give_up = time.monotonic() + 20
        while not is_cancelled() and time.monotonic() < give_up:
            time.sleep(0.001)
        ended.append(is_cancelled())

    async def go(timeout):
        with pytest.raises(TimeoutError):
            deadline = asyncio.get_running_loop().time() + timeout
            await pool.submit(work, deadline, never_disconnected)

    while not started.is_set():  # on a machine that stands still, the thread may come too late
        asyncio.run(go(seconds))
        seconds *= 5
    pool._pool.submit(int).result(TIMEOUT)
    assert ended == [True]


def test_what_would_be_late_is_not_begun_while_another_waits(pool, gate):
    done = []

    def takes_long(_):
        gate.wait(TIMEOUT)
        pool.admission.seconds = 3 * TIMEOUT

    async def go():
        deadline = asyncio.get_running_loop().time() + TIMEOUT
        tasks = [
            asyncio.create_task(pool.submit(work, deadline, never_disconnected))
            for work in (takes_long, lambda _: done.append("late"), lambda _: "last")
        ]
        await asyncio.sleep(0.1)
        gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    _, late, last = asyncio.run(go())
    assert isinstance(late, TimeoutError)
    assert last == "last", "work behind it still runs"
    assert "late" not in done


def test_who_hung_up_in_the_queue_is_not_begun(pool, gate):
    done = []
    (gone,) = run(pool, gate, (lambda _: done.append(1), TIMEOUT, lambda: True))
    assert isinstance(gone, ClientDisconnected)
    assert done == []
