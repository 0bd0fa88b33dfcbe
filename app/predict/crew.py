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

from app.errors import Busy, ClientGone

# After the event loop, on which small images wait.
NICENESS: Final = 10
# Of its time: how much may pass before work is begun. The rest is for itself, and for bad luck.
WAITS: Final = 0.7
# How much a piece of work counts in the moving mean of what they take.
NEWEST: Final = 0.1
T = TypeVar("T")


class Crew:
    """So many threads, and how long who comes now would wait for one. Belongs to one event loop.

    Work is counted in images, since a batch is as long as it has images.
    """

    def __init__(self, threads: int, name: str, *, gives_way: bool = True) -> None:
        self.threads = threads
        self.images = 0
        self.seconds = 0.0
        self._pool = ThreadPoolExecutor(threads, name, _give_way if gives_way else None)

    async def do(
        self, work: Callable[[], T], until: float, is_gone: Callable[[], bool], images: int = 1
    ) -> T:
        """Raises Busy, TimeoutError, ClientGone; what has not begun then is not begun, nor what
        would be over time before it is done, where others wait behind it.
        """

        def work_for_someone() -> T:
            go_on_unless(is_gone)
            others = self.images - images
            if others >= self.threads and loop.time() + images * self.seconds > until:
                raise TimeoutError
            started = time.perf_counter()
            try:
                return work()
            finally:
                took = (time.perf_counter() - started) / images
                self.seconds += NEWEST * (took - self.seconds)

        loop = asyncio.get_running_loop()
        if busy := self.busy(until - loop.time()):
            raise busy
        self.images += images
        try:
            async with asyncio.timeout_at(until):
                return await loop.run_in_executor(self._pool, work_for_someone)
        finally:
            self.images -= images

    def busy(self, left: float) -> Busy | None:
        """Give the refusal of work that has to be done in so many seconds, if there is one; there
        is none while a thread is free, however long work took so far.
        """
        wait = self.images * self.seconds / self.threads
        if self.images < self.threads or wait <= WAITS * left:
            return None
        message = f"{self.images} images are waiting already, which take {wait:.1f} s."
        return Busy(message, retry_after=ceil(wait))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def go_on_unless(is_gone: Callable[[], bool]) -> None:
    """Raises ClientGone."""
    if is_gone():
        raise ClientGone("The client hung up.")


def _give_way() -> None:
    """Make this thread alone nicer; other systems than Linux know niceness of processes only."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.nice(0) + NICENESS)
