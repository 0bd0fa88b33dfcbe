"""A bounded thread pool that rejects work which cannot finish before its deadline.

Without this check, throughput would fall under overload: work that starts near the end of its
time-out finishes too late, and its result is discarded.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Final, TypeVar

from app.errors import ClientDisconnected, QueueFull, ServiceError, drop_traceback

# Lower priority than the event loop, on which small images wait.
NICENESS: Final = 10
# Share of the time-out that may pass in the queue. The rest is for the work, with a reserve.
MAX_QUEUE_SHARE: Final = 0.7
# Weight of one piece of work in the moving average of durations, higher if it took longer. Admitted
# work should finish in time even in a slow second, which cannot be predicted.
EWMA_UP: Final = 0.1
EWMA_DOWN: Final = 0.03
T = TypeVar("T")


class AdmissionPool:
    """Runs work in threads and estimates how long new work would wait. Belongs to one event loop.

    Work is counted in images: the duration of a batch is proportional to its images.
    """

    def __init__(self, threads: int, name: str, *, low_priority: bool = True) -> None:
        self.threads = threads
        self.images = 0
        self.seconds = 0.0
        self.lock, self.queued = threading.Lock(), 0
        self._pool = ThreadPoolExecutor(threads, name, _lower_priority if low_priority else None)

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
        if overload := self.check_capacity(deadline - loop.time()):
            raise overload
        task = QueuedTask(self, images, deadline, is_cancelled)
        self.images += images
        try:
            async with asyncio.timeout_at(deadline):
                return await loop.run_in_executor(self._pool, self._work, work, task, loop.time)
        finally:
            task.is_abandoned = True
            task.leave_queue()
            self.images -= images

    def _work(
        self,
        work: Callable[[Callable[[], bool]], T],
        task: "QueuedTask",
        clock: Callable[[], float],
    ) -> T:
        task.leave_queue()
        raise_if_disconnected(task.is_cancelled)
        if self.queued and clock() + task.images * self.seconds > task.deadline:
            raise TimeoutError
        started = time.perf_counter()
        try:
            return work(task.is_cancelled)
        except ServiceError as refusal:
            raise drop_traceback(refusal) from None  # its frames hold the image
        finally:
            deviation = (time.perf_counter() - started) / task.images - self.seconds
            self.seconds += deviation * (EWMA_UP if deviation > 0 else EWMA_DOWN)

    def check_capacity(self, remaining: float) -> QueueFull | None:
        """Return an error if work with so many seconds left would be rejected, else None.

        No work is rejected while a thread is free, however long earlier work took.
        """
        wait = self.images * self.seconds / self.threads
        if self.images < self.threads or wait <= MAX_QUEUE_SHARE * remaining:
            return None
        message = f"The queue is full: {self.images} images are waiting, for about {wait:.1f} s."
        return QueueFull(f"{message} Try again later.", retry_after=ceil(wait))

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


def raise_if_disconnected(is_disconnected: Callable[[], bool]) -> None:
    """Raise ClientDisconnected if the client disconnected."""
    if is_disconnected():
        raise ClientDisconnected("The client disconnected before its image was processed.")


def _lower_priority() -> None:
    """Lower the priority of this thread. Outside Linux, niceness applies to whole processes."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.nice(0) + NICENESS)
