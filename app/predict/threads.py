"""Work in threads, for someone who may give up.

What enters: work. What leaves: what came of it, in time. This module does not know what is done.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from app.errors import ClientGone

# After the event loop, on which small images wait.
NICENESS: Final = 10
T = TypeVar("T")


def give_way() -> None:
    """Make this thread alone nicer; other systems than Linux know niceness of processes only."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.nice(0) + NICENESS)


async def in_thread(
    threads: ThreadPoolExecutor,
    work: Callable[[Callable[[], bool]], T],
    until: float,
    is_gone: Callable[[], bool],
) -> T:
    """Raises TimeoutError, ClientGone; what has not begun then is not begun.

    Work is handed what says whether it is given up.
    """
    late = threading.Event()

    def is_given_up() -> bool:
        return late.is_set() or is_gone()

    def work_for_someone() -> T:
        go_on_unless(is_given_up)
        return work(is_given_up)

    try:
        async with asyncio.timeout_at(until):
            return await asyncio.get_running_loop().run_in_executor(threads, work_for_someone)
    finally:
        late.set()


def go_on_unless(is_gone: Callable[[], bool]) -> None:
    """Raises ClientGone."""
    if is_gone():
        raise ClientGone("The client hung up.")
