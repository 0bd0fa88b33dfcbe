"""Heartbeat of a worker process: bytes in a pipe to the supervisor while the training proceeds.

The thread that trains sends it, so the supervisor notices a process that was stopped as well as a
thread that hangs, for example in a write to a disk that does not answer.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

# Seconds between two bytes: more would tell the supervisor nothing new.
INTERVAL: Final = 1.0


class Heartbeat:
    """Sends heartbeats through a pipe. Without a pipe it does nothing."""

    def __init__(self, pipe: int | None = None) -> None:
        self._pipe, self._next_at = pipe, 0.0

    @classmethod
    def on_stdout(cls) -> "Heartbeat":
        """Return the heartbeat of a process whose standard output is the supervisor's pipe.

        Whatever else prints there goes to standard error from now on.
        """
        pipe = os.dup(1)
        os.dup2(2, 1)
        os.set_blocking(pipe, False)
        return cls(pipe)

    def beat(self) -> None:
        """Send a heartbeat, at most one each `INTERVAL`: calls in quick succession cost little."""
        if self._pipe is None or time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + INTERVAL
        # The supervisor does not read, or has ended: this process ends with it.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._pipe, b".")

    @contextmanager
    def beating_while(self, proceeds: Callable[[], bool]) -> Iterator[None]:
        """Beat in a thread while `proceeds` returns true, for calls that cannot beat themselves."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(INTERVAL):
                if proceeds():
                    self.beat()

        thread = threading.Thread(target=run, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


class FolderGrowth:
    """Detector of files that change in size in a folder, as during a download."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._last_size = folder, self._size(folder)

    def __call__(self) -> bool:
        """Return whether the size has changed since the last call."""
        last, self._last_size = self._last_size, self._size(self._folder)
        return self._last_size != last

    @staticmethod
    def _size(folder: Path) -> int:
        try:
            return sum(entry.stat().st_size for entry in os.scandir(folder))
        except FileNotFoundError:  # no folder yet, or a temporary file was renamed
            return -1
