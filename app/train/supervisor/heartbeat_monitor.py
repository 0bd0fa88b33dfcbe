"""Heartbeat monitor of the supervisor: for how long a worker process has sent no heartbeat."""

import os
import time
from typing import IO, Final

READ_SIZE: Final = 65_536
# The longest time between two checks that counts, in seconds. A longer one means that the
# supervisor itself was suspended, perhaps together with the process.
MAX_GAP: Final = 5.0


class HeartbeatMonitor:
    """Reads the pipe of one process, without waiting."""

    def __init__(self, pipe: IO[str] | None) -> None:
        self._pipe = pipe
        self._checked_at, self._silent_seconds = time.monotonic(), 0.0
        if pipe:
            os.set_blocking(pipe.fileno(), False)

    def silent_seconds(self) -> float:
        """Read the pipe, and return the seconds since the last heartbeat or the start."""
        now = time.monotonic()
        self._silent_seconds += min(now - self._checked_at, MAX_GAP)
        self._checked_at = now
        if self._has_beaten():
            self._silent_seconds = 0.0
        return self._silent_seconds

    def _has_beaten(self) -> bool:
        if self._pipe is None:
            return False
        try:
            return bool(os.read(self._pipe.fileno(), READ_SIZE))
        except BlockingIOError:
            return False
