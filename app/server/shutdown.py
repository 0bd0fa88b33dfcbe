"""Graceful shutdown of a worker process.

It begins with SIGTERM or SIGINT, or if the parent process is gone.
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

# Seconds in which the process still accepts requests but reports not-ready, so that load balancers
# can switch to other processes first.
LAME_DUCK_SECONDS: Final = 1.0
# Seconds for in-flight requests after that. It is longer than a prediction may take. Together with
# the lame-duck period, and the two or three seconds that processes need to react and exit, it is
# shorter than the ten seconds that containers get to stop.
GRACE_SECONDS: Final = 6
# Seconds from the signal until requests get `503`, which leaves time to send that response.
DEADLINE_SECONDS: Final = GRACE_SECONDS - 1.0


class Shutdown:
    """Puts a deadline on in-flight requests once the process shuts down."""

    def __init__(self) -> None:
        self._deadline: float | None = None
        self._active_timeouts: set[asyncio.Timeout] = set()

    @property
    def listeners_closed(self) -> bool:
        """Return whether uvicorn has closed its connections.

        A connection that opens after that must be closed separately.
        """
        if self._deadline is None:
            return False
        return (
            asyncio.get_running_loop().time()
            > self._deadline - DEADLINE_SECONDS + LAME_DUCK_SECONDS
        )

    def begin(self) -> None:
        """Set the deadline of all in-flight requests."""
        self._deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
        for timeout in self._active_timeouts:
            timeout.reschedule(self._deadline)

    @asynccontextmanager
    async def deadline(self) -> AsyncIterator[asyncio.Timeout]:
        """Raise TimeoutError if the block runs past the deadline and was not exempted."""
        async with asyncio.timeout_at(self._deadline) as timeout:
            self._active_timeouts.add(timeout)
            try:
                yield timeout
            finally:
                self._active_timeouts.discard(timeout)

    def lift(self, timeout: asyncio.Timeout) -> None:
        """Exempt `timeout` from the deadline."""
        if timeout in self._active_timeouts and not timeout.expired():
            self._active_timeouts.remove(timeout)
            timeout.reschedule(None)


def exit_with_parent() -> None:
    """Stop this worker process if its parent is gone, for whatever reason."""
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
    """Call `callback` in the event loop on SIGTERM or SIGINT.

    The server gets SIGTERM after `LAME_DUCK_SECONDS`; a second signal, or Ctrl-C, immediately.
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
