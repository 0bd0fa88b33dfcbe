"""One attempt that runs: its job, its process, and what becomes of the job when that has ended.

What enters: a job as it was when the attempt began, and the attempt's process. What leaves: whether
the attempt is over, and the job in its next state. This module does not know how many attempts run,
nor what a process does.
"""

import logging
import os
import subprocess
from typing import Final

from app.database.jobs import JobStore
from app.database.tables import Job
from app.telemetry import logs
from app.train.jobs import job as jobs
from app.train.jobs.job import Status

WRITE_FAILED_MESSAGE: Final = (
    "The training process could not write to the database or the state folder; "
    "the service's log tells why."
)
log = logging.getLogger(__name__)


class WorkerProcess:
    """An attempt that began; `process` is None where none could be started."""

    def __init__(
        self, store: JobStore, job: Job, process: subprocess.Popen[str] | None, back_off: float
    ) -> None:
        self.store, self.job, self.process, self.back_off = store, job, process, back_off

    def is_over(self) -> bool:
        """Whether the process has ended, or has no job to run any more."""
        return self.process is None or self.process.poll() is not None or not self._current_job()

    def handle_exit(self) -> None:
        """Once the process has ended: a job that it left running has lost it, any other needs it
        no more.
        """
        job = self._current_job()
        if job is None:
            return
        exit_code = -1 if self.process is None else self.process.returncode
        log.warning(
            "job %s: its process died with exit code %d", job.id, exit_code, extra=log_fields(job)
        )
        if exit_code == os.EX_IOERR:
            jobs.record_error(
                self.store,
                job.id,
                job.attempt,
                "storage_failed",
                WRITE_FAILED_MESSAGE,
                self.back_off,
            )
        else:
            jobs.record_crash(self.store, job, exit_code, self.back_off)

    def requeue(self) -> None:
        """Queue the job again, whose process was stopped with the service."""
        if jobs.requeue(self.store, self.job):
            log.info("job %s: stopped, and queued again", self.job.id, extra=log_fields(self.job))

    def _current_job(self) -> Job | None:
        """Return the job as it is, if it still runs, and by this attempt."""
        job = self.store.job(self.job.id)
        is_current = job and (job.status, job.attempt) == (Status.RUNNING, self.job.attempt)
        return job if is_current else None


def log_fields(job: Job) -> dict[str, logs.LogFields]:
    """Return what lets a line of the log tell of which job it is."""
    return logs.extra_fields(job_id=job.id)
