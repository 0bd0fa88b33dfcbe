"""Worker process handle of the supervisor: checks a process and handles its exit."""

import logging
import os
import subprocess
from typing import Final

from app.database.jobs import JobStore
from app.database.tables import Job
from app.telemetry import logs
from app.train.jobs import job as jobs
from app.train.jobs.job import Status
from app.train.supervisor.heartbeat_monitor import HeartbeatMonitor

WRITE_FAILED_MESSAGE: Final = (
    "The worker process could not write to the database or the state folder. "
    "See the log of the service for the cause."
)
log = logging.getLogger(__name__)


class WorkerProcess:
    """The process of an attempt; `process` is None if it could not be started."""

    def __init__(
        self,
        store: JobStore,
        job: Job,
        process: subprocess.Popen[str] | None,
        *,
        back_off: float,
        stall_seconds: float,
    ) -> None:
        self.store, self.job, self.process = store, job, process
        self.back_off, self.stall_seconds = back_off, stall_seconds
        self.heartbeat = HeartbeatMonitor(process)
        self.was_stalled = False

    def is_over(self) -> bool:
        """Return whether the process has exited, or its attempt no longer runs the job."""
        return self.process is None or self.process.poll() is not None or not self._current_job()

    def kill_if_stalled(self) -> bool:
        """Kill the process if it has sent no heartbeat for too long, and return whether it did."""
        if self.process is None or self.heartbeat.silent_seconds() < self.stall_seconds:
            return False
        self.was_stalled = True
        log.error(
            "worker process stalled, killed: job=%s pid=%d seconds=%.0f",
            self.job.id,
            self.process.pid,
            self.stall_seconds,
            extra=log_fields(self.job),
        )
        self.process.kill()  # at once: it would not react to the end of its pipe
        return True

    def handle_exit(self) -> None:
        """Handle the exit of the process: requeue or fail its job if it is still running."""
        job = self._current_job()
        if job is None:
            return
        exit_code = -1 if self.process is None else self.process.returncode
        log.warning(
            "worker process died: job=%s exit_code=%s", job.id, exit_code, extra=log_fields(job)
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
            jobs.record_crash(self.store, job, self._crash_reason(exit_code), self.back_off)

    def requeue(self) -> None:
        """Requeue the job after its process was stopped with the service."""
        if jobs.requeue(self.store, self.job):
            log.info("job stopped and requeued: job=%s", self.job.id, extra=log_fields(self.job))

    def _crash_reason(self, exit_code: int | None) -> str:
        if self.was_stalled:
            return (
                f"The worker process sent no heartbeat for {self.stall_seconds:.0f} seconds and "
                "was killed."
            )
        return f"The worker process died with exit code {exit_code}."

    def _current_job(self) -> Job | None:
        """Return the current row of the job if this attempt still runs it, or None."""
        job = self.store.job(self.job.id)
        is_current = job and (job.status, job.attempt) == (Status.RUNNING, self.job.attempt)
        return job if is_current else None


def log_fields(job: Job) -> dict[str, logs.LogFields]:
    """Return the logging `extra` that adds the job id to a log line."""
    return logs.extra_fields(job_id=job.id)
