"""How a serving process ends: when it is told to, or when the process that started it is gone.

What enters: signals. What leaves: word of it, and a moment later the signal itself, for the server.
This module does not know what is under way.
"""

import asyncio
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

# Seconds for which a process that is to end still takes requests, while it says that it is not
# ready: so that whoever spreads requests over several can look elsewhere first.
NOTICE: Final = 1.0


def end_with_parent() -> None:
    """Let a worker end when the process that started it is gone, in whatever way it went."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def wait() -> None:
        multiprocessing.connection.wait([sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


@contextmanager
def noticing(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` in the event loop when the server is told to end. The server hears of it later,
    unless it is told again, or from the keyboard.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    told = False

    def hand_on(number: int, frame: FrameType | None) -> None:
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    def notice(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told_again, told = told, True
        loop.call_soon_threadsafe(tell)
        if told_again or number == signal.SIGINT:
            hand_on(number, frame)
        else:
            loop.call_soon_threadsafe(loop.call_later, NOTICE, hand_on, number, None)

    for number in before:
        signal.signal(number, notice)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
