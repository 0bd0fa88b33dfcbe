"""How a serving process ends: when it is told to, or when the process that started it is gone.

What enters: signals. What leaves: word of it, and a moment later the signal itself, for the server;
and an end of what would still be under way when the process is gone. This module does not know what
that is.
"""

import asyncio
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Final

# Seconds for which a process that is to end still takes requests, while it says that it is not
# ready: so that whoever spreads requests over several can look elsewhere first.
LAME_DUCK_SECONDS: Final = 1.0
# Seconds for what is under way from then on: longer than predictions may take, and together with
# the notice, and the two or three that processes take to hear and to go, shorter than the ten
# seconds that containers are given to end.
GRACE_SECONDS: Final = 6
# Seconds from the notice on after which there is time for an answer still, and for no more.
DEADLINE_SECONDS: Final = GRACE_SECONDS - 1.0


class Shutdown:
    """Lets nothing take longer than this process has."""

    def __init__(self) -> None:
        self._deadline: float | None = None
        self._active_timeouts: set[asyncio.Timeout] = set()

    @property
    def listeners_closed(self) -> bool:
        """Return whether the server has been told: it closes the connections that it knows then."""
        if self._deadline is None:
            return False
        return (
            asyncio.get_running_loop().time()
            > self._deadline - DEADLINE_SECONDS + LAME_DUCK_SECONDS
        )

    def begin(self) -> None:
        """Set the deadline for what is under way."""
        self._deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
        for timeout in self._active_timeouts:
            timeout.reschedule(self._deadline)

    @asynccontextmanager
    async def deadline(self) -> AsyncIterator[asyncio.Timeout]:
        """Raise TimeoutError where it takes too long, and is not spared by then."""
        async with asyncio.timeout_at(self._deadline) as timeout:
            self._active_timeouts.add(timeout)
            try:
                yield timeout
            finally:
                self._active_timeouts.discard(timeout)

    def lift(self, timeout: asyncio.Timeout) -> None:
        """Exempt `limit` from the deadline."""
        if timeout in self._active_timeouts and not timeout.expired():
            self._active_timeouts.remove(timeout)
            timeout.reschedule(None)


def exit_with_parent() -> None:
    """End this worker when the process that started it is gone, in whatever way."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def wait() -> None:
        multiprocessing.connection.wait([sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


@contextmanager
def on_shutdown_signal(callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` in the event loop when SIGTERM or SIGINT comes.

    The server gets SIGTERM `NOTICE` seconds later; a second signal, or Ctrl-C, at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    previous_handlers = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)
    }
    signal_received = False

    def forward(number: int, frame: FrameType | None) -> None:
        handler = previous_handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal signal_received
        is_repeat, signal_received = signal_received, True
        loop.call_soon_threadsafe(callback)
        if is_repeat or number == signal.SIGINT:
            forward(number, frame)
        else:
            loop.call_soon_threadsafe(loop.call_later, LAME_DUCK_SECONDS, forward, number, None)

    for number in previous_handlers:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
