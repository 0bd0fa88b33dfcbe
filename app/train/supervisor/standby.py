"""Standby worker process, which has imported PyTorch and waits for the next assignment.

The imports are most of a job's start: three seconds of a core. A service that trains keeps one such
process. The first one starts with the service, so that even a job that comes at once gains some of
its imports. The next ones start two seconds after a job has ended, or when a job has trained for a
while, so that they take no core from the first batches, nor from what clients do with the new
version. The process needs 340 MB, so it does not start where little memory is left, and ends when
no job has trained for ten minutes: an idle service gives the memory back. Like a worker process, it
exits with the process that started it.
"""

import logging
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app import subprocesses
from app.config.memory import available_memory
from app.train.supervisor.scheduler import WORKER_MEMORY

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StandbyTiming:
    """Seconds after which the standby process starts and ends."""

    # After the start of a job that still trains.
    delay: float = 60.0
    # After the end of a job.
    pause: float = 2.0
    # Without a job that trains.
    idle: float = 600.0
    # Before another one starts, if one has died, or could not be started.
    retry: float = 30.0


TIMING: Final = StandbyTiming()


class Standby:
    """Starts worker processes, and keeps one standby process if enabled. Used by one thread."""

    def __init__(
        self,
        module: str,
        timing: StandbyTiming = TIMING,
        *,
        is_enabled: bool = True,
        memory: Callable[[], float] = available_memory,
    ) -> None:
        self.module, self.timing, self.is_enabled = module, timing, is_enabled
        self.memory = memory
        self.process: subprocess.Popen[str] | None = None
        self._started_at = self._start_at = 0.0
        # As if a job had ended a pause ago: the first job of a service is not to wait either.
        self._trained_at, self._is_wanted = time.monotonic() - timing.pause, is_enabled

    def start(self, module: str, line: str) -> subprocess.Popen[str]:
        """Send the line to the standby process if there is one, or start a process.

        Its standard output carries heartbeats. Raises OSError.
        """
        self._started_at = self._trained_at = time.monotonic()
        self._is_wanted = self.is_enabled
        process, self.process = self.process, None
        if process is not None and _try_send(process, line):
            log.info("standby process got a job: pid=%d", process.pid)
            return process
        return subprocesses.start(module, line, stdout=subprocess.PIPE)

    def tend(self, *, is_training: bool) -> None:
        """Start the standby process if it is due, and end it if it has been idle for long."""
        now = time.monotonic()
        if is_training:
            self._trained_at = now
        if self.process is not None and self.process.poll() is not None:
            log.warning("standby process died: exit_code=%s", self.process.returncode)
            self._end()
            self._start_at = now + self.timing.retry
        if now - self._trained_at > self.timing.idle:
            self.end()
        if is_training:
            is_busy = now - self._started_at < self.timing.delay
        else:
            is_busy = now - self._trained_at < self.timing.pause
        if self._is_wanted and self.process is None and not is_busy and now >= self._start_at:
            self._spawn()

    def end(self) -> None:
        """End the standby process, until another job starts."""
        self._is_wanted = False
        if self.process is not None:
            log.info("standby process ended: pid=%d", self.process.pid)
            self._end()

    def _spawn(self) -> None:
        if (memory := self.memory()) < WORKER_MEMORY:  # as the next job needs
            self._start_at = time.monotonic() + self.timing.retry
            log.debug("standby process not started: available_memory=%.0f", memory)
            return
        try:
            self.process = subprocesses.spawn(self.module, stdout=subprocess.PIPE)
        except OSError as error:
            self._start_at = time.monotonic() + self.timing.retry
            log.warning("standby process could not be started: error=%s", error)
        else:
            log.info("standby process started: pid=%d", self.process.pid)

    def _end(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            _discard(process)


def _try_send(process: subprocess.Popen[str], line: str) -> bool:
    """Send the line, and return whether the process was there to take it."""
    try:
        subprocesses.send(process, line)
    except BrokenPipeError:
        log.warning("standby process has died: pid=%d", process.pid)
        return False
    return True


def _discard(process: subprocess.Popen[str]) -> None:
    """End a process that has nothing to lose."""
    process.kill()
    subprocesses.end(process)
