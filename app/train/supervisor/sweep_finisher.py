"""The ends of sweeps, as the supervisor sees to them.

What enters: sweeps whose jobs have ended. What leaves: one process at a time that lets the best of
a sweep pass the gate, or not. This module does not know how it does that.
"""

import logging
import os
import subprocess
import time
from collections.abc import Callable
from typing import Final

from app import subprocesses
from app.config.settings import Settings
from app.database.store import LONGEST_WAIT, Store
from app.database.sweeps import Sweeps
from app.database.tables import Sweep
from app.train.jobs import job, sweep
from app.train.jobs.assignment import SweepAssignment

POLL_INTERVAL: Final = 0.5
# Seconds until it is tried again where nothing can be read or written.
RETRY_INTERVAL: Final = 5.0
log = logging.getLogger(__name__)


class SweepFinisher:
    """What ends sweeps; used by one thread."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        start: Callable[[str, str], subprocess.Popen[str]] = subprocesses.start,
        back_off: float = job.BACK_OFF,
    ) -> None:
        self.settings, self.sweeps = settings, Sweeps(store)
        self.start, self.back_off = start, back_off
        self.process: subprocess.Popen[str] | None = None
        self._sweep_id = ""
        self._poll_at = 0.0
        self._not_before: dict[str, float] = {}

    def tick(self) -> None:
        """See to it that sweeps end whose jobs have ended."""
        if self.process and self.process.poll() is not None:
            self._handle_exit(self.process.returncode)
        if time.monotonic() >= self._poll_at:
            self._poll_at = time.monotonic() + POLL_INTERVAL
            for row in self.sweeps.unfinished():
                self._advance(row)

    def end(self) -> None:
        """End the process, where there is one: another goes on with what it did."""
        if self.process:
            subprocesses.end(self.process)
            self.process = None

    def _advance(self, row: Sweep) -> None:
        if row.status == sweep.Status.CANCELLED:
            sweep.finish_cancelling(self.sweeps, row)
        elif not self.sweeps.has_ended(row.id):
            return
        elif not any(job_row.result for job_row in self.sweeps.jobs(row.id)):
            sweep.finish_without_best(self.sweeps, row)
        elif self.process is None and time.monotonic() >= self._not_before.get(row.id, 0.0):
            self._start(row.id)

    def _start(self, sweep_id: str) -> None:
        self._sweep_id = sweep_id
        try:
            assignment = SweepAssignment(settings=self.settings, sweep_id=sweep_id)
            self.process = self.start("app.train.worker.finish_sweep", assignment.model_dump_json())
            log.info("sweep %s: process %d looks at its best", sweep_id, self.process.pid)
        except OSError:
            log.exception("sweep %s: no process could be started", sweep_id)
            self._record_crash(-1)

    def _handle_exit(self, exit_code: int) -> None:
        """A sweep that the process left running has lost it: another process is started later."""
        row = self.sweeps.sweep(self._sweep_id)
        if row and row.status == sweep.Status.RUNNING:
            if exit_code == os.EX_IOERR:  # the bucket, the disk or the database, which may pass
                self._not_before[self._sweep_id] = time.monotonic() + RETRY_INTERVAL
            else:
                self._record_crash(exit_code)
        self.process = None

    def _record_crash(self, exit_code: int) -> None:
        sweep_id = self._sweep_id
        log.warning("sweep %s: its process died with exit code %d", sweep_id, exit_code)
        reason = f"The process that ends it died (exit code {exit_code}); the log may tell why."
        crashes = sweep.record_crash(self.sweeps, sweep_id, reason)
        self._not_before[sweep_id] = time.monotonic() + min(
            LONGEST_WAIT, self.back_off * 2**crashes
        )
