"""A bounded thread pool that rejects work which cannot finish before its deadline.

Without this check, throughput would fall under overload: work that starts near the end of its
time-out finishes too late, and its result is discarded.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.errors import ServiceError, drop_traceback
from app.predict.queues.admission import Admission, raise_if_disconnected

T = TypeVar("T")


class AdmissionPool:
    """Runs work in threads and estimates how long new work would wait. Belongs to one event loop.

    Work is counted in images: the duration of a batch is proportional to its images.
    """

    def __init__(self, threads: int, name: str) -> None:
        self.admission = Admission(threads)
        self.lock, self.queued = threading.Lock(), 0
        self._pool = ThreadPoolExecutor(threads, name)

    async def submit(
        self,
        work: Callable[[Callable[[], bool]], T],
        deadline: float,
        is_cancelled: Callable[[], bool],
        images: int = 1,
    ) -> T:
        """Run `work` in the pool, and return its result.

        `work` gets a function that returns whether the result is no longer needed.

        Work never starts after its deadline. It does not start either if it would exceed the
        deadline while other work waits behind it. Raises QueueFull, TimeoutError,
        ClientDisconnected.
        """
        loop = asyncio.get_running_loop()
        self.admission.check(deadline - loop.time())
        task = QueuedTask(self, images, deadline, is_cancelled)
        self.admission.images += images
        try:
            async with asyncio.timeout_at(deadline):
                return await loop.run_in_executor(self._pool, self._work, work, task, loop.time)
        finally:
            task.is_abandoned = True
            task.leave_queue()
            self.admission.images -= images

    def _work(
        self,
        work: Callable[[Callable[[], bool]], T],
        task: "QueuedTask",
        clock: Callable[[], float],
    ) -> T:
        task.leave_queue()
        raise_if_disconnected(task.is_cancelled)
        if self.queued and clock() + task.images * self.admission.seconds > task.deadline:
            raise TimeoutError
        started = time.perf_counter()
        try:
            return work(task.is_cancelled)
        except ServiceError as refusal:
            raise drop_traceback(refusal) from None  # its frames hold the image
        finally:
            self.admission.record((time.perf_counter() - started) / task.images)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class QueuedTask:
    """One submitted piece of work: queued, running, or abandoned."""

    def __init__(
        self, pool: AdmissionPool, images: int, deadline: float, is_disconnected: Callable[[], bool]
    ) -> None:
        self.pool, self.images, self.deadline, self.is_disconnected = (
            pool,
            images,
            deadline,
            is_disconnected,
        )
        self.is_abandoned = False
        self._queued = images
        with pool.lock:
            pool.queued += images

    def leave_queue(self) -> None:
        """Leave the queue, if it is still in it."""
        with self.pool.lock:
            self.pool.queued -= self._queued
            self._queued = 0

    def is_cancelled(self) -> bool:
        return self.is_abandoned or self.is_disconnected()
