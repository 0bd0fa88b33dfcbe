"""Heartbeat monitor of the supervisor: for how long a worker process has sent no heartbeat."""

import os
import subprocess
import time
from pathlib import Path
from typing import Final

READ_SIZE: Final = 65_536
# The longest time between two checks that counts, in seconds. A longer one means that the
# supervisor itself was suspended, perhaps together with the process.
MAX_GAP: Final = 5.0


class HeartbeatMonitor:
    """Reads the pipe of one process, without waiting.

    Time in which the process waits for a core does not count. At its low priority, on a machine
    that other processes use fully, the four seconds of its imports can take minutes.
    """

    def __init__(self, process: "subprocess.Popen[str] | None") -> None:
        self._process = process
        self._checked_at, self._silent_seconds = time.monotonic(), 0.0
        self._waited = self._wait_for_core()
        if process and process.stdout:
            os.set_blocking(process.stdout.fileno(), False)

    def silent_seconds(self) -> float:
        """Read the pipe, and return the seconds since the last heartbeat or the start."""
        now, waited = time.monotonic(), self._wait_for_core()
        self._silent_seconds += min(now - self._checked_at, MAX_GAP)
        # The kernel counts a wait when it ends, so it may be longer than the time since the check.
        self._silent_seconds = max(0.0, self._silent_seconds - (waited - self._waited))
        self._checked_at, self._waited = now, waited
        if self._has_beaten():
            self._silent_seconds = 0.0
        return self._silent_seconds

    def _has_beaten(self) -> bool:
        if self._process is None or self._process.stdout is None:
            return False
        try:
            return bool(os.read(self._process.stdout.fileno(), READ_SIZE))
        except BlockingIOError:
            return False

    def _wait_for_core(self) -> float:
        return seconds_waited_for_core(self._process.pid) if self._process else 0.0


def seconds_waited_for_core(pid: int) -> float:
    """Return for how long the main thread of a process was ready to run, but had no core.

    Linux counts it (Documentation/scheduler/sched-stats.rst). Elsewhere, and for a process that was
    reaped, it is 0.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0
