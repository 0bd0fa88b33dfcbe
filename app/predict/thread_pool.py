"""Threads that take work in turn, and none that would be done too late.

What enters: work, and until when there must be an answer. What leaves: what came of it, or a
refusal at once, where the work before it takes too long. This module does not know what the work
is.

Without that refusal a crowd would be answered less often the larger it is: what comes to its turn
after nearly all of its time is begun, is over time before it is done, and is done for nobody.
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

# After the event loop, on which small images wait.
NICENESS: Final = 10
# Of its time: how much may pass before work is begun. The rest is for itself, and for bad luck.
MAX_QUEUE_SHARE: Final = 0.7
# How much a piece of work counts in the moving mean of what they take: more where it took longer.
# Who is taken shall be answered in time in a slow second, too, and none can be foreseen.
EWMA_UP: Final = 0.1
EWMA_DOWN: Final = 0.03
T = TypeVar("T")


class AdmissionPool:
    """So many threads, and how long who comes now would wait for one. Belongs to one event loop.

    Work is counted in images, since a batch is as long as it has images.
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

        Work that has not begun by its deadline never begins; nor does work that would exceed it
        while others wait behind it. Raises QueueFull, TimeoutError, ClientDisconnected.

        Work is handed what says whether it is given up.
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
        """Return the refusal of work that has to be done in so many seconds, if there is one; there
        is none while a thread is free, however long work took so far.
        """
        wait = self.images * self.seconds / self.threads
        if self.images < self.threads or wait <= MAX_QUEUE_SHARE * remaining:
            return None
        message = f"{self.images} images are waiting already, which take {wait:.1f} s."
        return QueueFull(message, retry_after=ceil(wait))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class QueuedTask:
    """A piece of work: in the queue, and then at work, or given up."""

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
        """Leave the queue, where it is still there."""
        with self.pool.lock:
            self.pool.queued -= self._queued
            self._queued = 0

    def is_cancelled(self) -> bool:
        return self.is_abandoned or self.is_disconnected()


def raise_if_disconnected(is_disconnected: Callable[[], bool]) -> None:
    """Raises ClientDisconnected."""
    if is_disconnected():
        raise ClientDisconnected("The client hung up.")


def _lower_priority() -> None:
    """Make this thread alone nicer; other systems than Linux know niceness of processes only."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.nice(0) + NICENESS)
