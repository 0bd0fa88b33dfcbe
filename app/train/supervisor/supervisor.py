"""Supervisor: starts worker processes for queued jobs, and handles their exit.

Exactly one supervisor runs per database: the holder of the lease. A worker process reads from a
pipe that the supervisor holds open, so it exits if the supervisor exits or crashes. The next
supervisor finds the job still recorded as running, without a process, and requeues it.
"""

import logging
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from app import atomic_files, subprocesses
from app.config.settings import Settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.leases import LeaseStore
from app.database.sqlite import DatabaseCorrupt, DiskFull
from app.database.sweeps import SweepStore
from app.database.tables import Job, now
from app.errors import NotReady
from app.train.jobs import deletion, files, sweep
from app.train.jobs import job as jobs
from app.train.jobs.assignment import Assignment
from app.train.jobs.checkpoints import Checkpoints
from app.train.jobs.job import Status
from app.train.jobs.retraining import retraining_of
from app.train.supervisor.lease import Lease
from app.train.supervisor.mlflow_process import Tracker
from app.train.supervisor.scheduler import Scheduler
from app.train.supervisor.standby import Standby
from app.train.supervisor.worker_process import WorkerProcess, log_fields

WORKER_MODULE: Final = "app.train.worker"
BACKUP_RETRY_INTERVAL: Final = 30.0
CLEAN_UP_INTERVAL: Final = 3600.0
CLEAN_UP_RETRY_INTERVAL: Final = 30.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals and time-outs of the supervisor, in seconds."""

    # Between two questions whether the file of the database has changed, which take 8 µs each.
    poll: float = 0.05
    # Between two checks of the queue and of the processes, if a process runs, another supervisor
    # has the lease, or the database is no file. A check takes three queries: every 0.25 s, they
    # were 3 % of a core.
    busy: float = 0.25
    # Between two checks if nothing has changed.
    idle: float = 2.0
    # Between two checks of the running sweeps.
    sweeps: float = 0.5
    # Between two counts of the new corrections.
    retraining: float = 2.0
    # Before a step is retried that failed because of the database or the disk.
    retry: float = 2.0
    # Before a failed job is started again, multiplied by 2 for each failure.
    back_off: float = jobs.BACK_OFF
    # To stop all worker processes and to requeue their jobs.
    end: float = 7.0


TIMING: Final = Timing()


class Supervisor:
    """A thread that supervises while it holds the lease. Use it as a context."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        worker_module: str = WORKER_MODULE,
        clean_storage: Callable[[Settings], None] = lambda _: None,
        *,
        start: Callable[[str, str], subprocess.Popen[str]] | None = None,
        timing: Timing = TIMING,
    ) -> None:
        self.settings, self.database = settings, database
        self.worker_module, self.clean_storage = worker_module, clean_storage
        on_cluster = worker_module != WORKER_MODULE
        self.standby = Standby(worker_module, is_enabled=settings.train_standby and not on_cluster)
        self.timing = timing
        self.start = start or self.standby.start
        self.job_store, self.sweep_store = JobStore(database), SweepStore(database)
        self.checkpoints = Checkpoints(settings.checkpoints_dir, settings.keep_checkpoints)
        self.scheduler = Scheduler(settings, self.sweep_store, on_cluster=on_cluster)
        self.lease = Lease(settings.state_dir, LeaseStore(database))
        self.tracker = Tracker(settings)
        self.retraining = retraining_of(settings, database)
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._stop = threading.Event()
        self._running: list[WorkerProcess] = []
        self._clean_up_at = self._back_up_at = self._end_sweeps_at = self._retrain_at = 0.0
        self._has_old_events = self._has_old_jobs = False
        self._checked_at, self._stamp = float("-inf"), self.database.stamp()
        self._deadline = float("inf")

    def __enter__(self) -> "Supervisor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        if self._thread.is_alive():  # worker processes exit with this one
            log.error(
                "supervisor did not stop in time, the next one requeues its jobs: seconds=%.0f",
                self.timing.end,
            )

    def stop(self) -> None:
        """Ask the thread to start no more jobs and to requeue the running ones. Does not wait."""
        if not self._stop.is_set():
            self._deadline = time.monotonic() + self.timing.end
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self.timing.poll):
            if self._is_due():
                self._try(self._tick)
        self._try(self._stop_and_requeue)
        self._try(self.lease.release)

    def _is_due(self) -> bool:
        """Return whether there may be something to do."""
        stamp, now = self.database.stamp(), time.monotonic()
        if self._running or self.lease.may_have_lapsed() or stamp is None:
            interval = self.timing.busy
        else:
            interval = self.timing.idle if stamp == self._stamp else 0.0
        if now - self._checked_at < interval:
            return False
        self._stamp, self._checked_at = stamp, now
        return True

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (
            Exception
        ) as error:  # any, e.g. a locked database or a full disk: the thread must not end
            is_expected = isinstance(error, NotReady | OSError)
            log.error(
                "supervisor step failed, retrying: error=%s",
                error,
                exc_info=None if is_expected else error,
            )
            if isinstance(error, DatabaseCorrupt):
                self._try_to_repair()
            # The step may have left files that it was about to delete.
            retry_at = time.monotonic() + CLEAN_UP_RETRY_INTERVAL
            self._clean_up_at = min(self._clean_up_at, retry_at)
            if self.lease.may_have_lapsed():
                self._end_processes()  # the next supervisor requeues their jobs
            self._stop.wait(self.timing.retry)

    def _try_to_repair(self) -> None:
        try:
            self.database.repair()
        except (NotReady, OSError) as error:
            log.error("database could not be repaired: error=%s", error)

    def _tick(self) -> None:
        if self.lease.acquire():
            self._back_up()  # first, because the exit of a process can take seconds
            self._schedule()
            self.standby.tend(is_training=bool(self._running))
            self._clean_up()
            self.tracker.ensure_running()
            self._retrain()
        else:
            self._stop_and_requeue()

    def _schedule(self) -> None:
        """Handle finished processes, and start the next job if there is room for it."""
        self._reap()
        if not self.scheduler.is_full(self._running):
            self._requeue_orphans()
            self._start_next()
        self._end_sweeps()

    def _end_sweeps(self) -> None:
        """End the sweeps whose jobs have all ended, and finish interrupted cancellations."""
        if time.monotonic() >= self._end_sweeps_at:
            self._end_sweeps_at = time.monotonic() + self.timing.sweeps
            sweep.end_finished(self.sweep_store)

    def _retrain(self) -> None:
        """Queue a job if enough corrections are new."""
        if self.retraining and time.monotonic() >= self._retrain_at:
            self._retrain_at = time.monotonic() + self.timing.retraining
            self.retraining.start_if_due()

    def _stop_and_requeue(self) -> None:
        """Stop the worker processes and requeue their jobs."""
        for worker in self._end_processes():
            worker.requeue()

    def _clean_up(self) -> None:
        """Delete files, events and jobs that are no longer needed; renew the ballast file."""
        if time.monotonic() >= self._clean_up_at:
            self._clean_up_at = time.monotonic() + CLEAN_UP_INTERVAL
            atomic_files.remove_temporary_files(self.settings.state_dir)
            self._delete_finished()
            if self.database.ballast:
                self.database.ballast.allocate()
            self._has_old_events = True
            self._has_old_jobs = self.settings.keep_jobs_days is not None
        if self._has_old_jobs:
            days = timedelta(days=self.settings.keep_jobs_days or 0)
            self._has_old_jobs = deletion.delete_old(self.sweep_store, now() - days)
        if self._has_old_events:  # one batch in each turn, because there may be millions
            days = timedelta(days=self.settings.keep_events_days)
            self._has_old_events = self.job_store.delete_old_events(now() - days)

    def _back_up(self) -> None:
        """Back up the database if a job, a sweep or a key has changed and the disk has room."""
        if self.database.backup and time.monotonic() >= self._back_up_at:
            try:
                self.database.backup.back_up()
            except (DiskFull, OSError) as error:
                self._back_up_at = time.monotonic() + BACKUP_RETRY_INTERVAL
                log.error("database could not be backed up: error=%s", error)

    def _requeue_orphans(self) -> None:
        """Requeue the jobs of a supervisor that crashed."""
        own_ids = {worker.job.id for worker in self._running}
        for job in self.job_store.jobs(Status.RUNNING):
            if job.id not in own_ids and jobs.requeue(self.job_store, job):
                log.info(
                    "job without a process requeued: job=%s",
                    job.id,
                    extra=log_fields(job),
                )

    def _start_next(self) -> None:
        due = self.scheduler.next_job(self._running)
        attempt = jobs.start(self.job_store, due.job) if due else None
        if due is None or attempt is None:
            return
        job = self.job_store.job(due.job.id)
        # A client may have deleted it, or another supervisor has taken the lease and the job.
        if job is None or job.attempt != attempt:
            return
        assignment = Assignment(settings=due.settings, job_id=job.id, attempt=attempt)
        worker = WorkerProcess(
            self.job_store,
            job,
            self._start_process(assignment, job),
            back_off=self.timing.back_off,
            stall_seconds=self.settings.train_stall_seconds,
        )
        self._running.append(worker)

    def _start_process(self, assignment: Assignment, job: Job) -> subprocess.Popen[str] | None:
        """Start the process of an attempt, or return None if that is impossible."""
        try:
            process = self.start(self.worker_module, assignment.model_dump_json())
        except OSError:
            message = "worker process could not be started: job=%s"
            log.exception(message, job.id, extra=log_fields(job))
            return None
        log.info(
            "worker process started: job=%s attempt=%d pid=%d",
            job.id,
            assignment.attempt,
            process.pid,
            extra=log_fields(job),
        )
        return process

    def _reap(self) -> None:
        """End all finished, superseded or stalled processes in parallel; update their jobs."""
        finished = [
            worker for worker in self._running if worker.is_over() or worker.kill_if_stalled()
        ]
        subprocesses.end(*(worker.process for worker in finished if worker.process))
        for worker in finished:
            worker.handle_exit()
            self._running.remove(worker)
        if finished:
            self._delete_finished()

    def _delete_finished(self) -> None:
        files.delete_finished(
            self.settings.jobs_dir, self._is_unfinished, writers=bool(self._running)
        )
        self.job_store.delete_initial_weights()
        self.checkpoints.clean_up(self._recorded_epochs, writers=bool(self._running))
        self.clean_storage(self.settings)

    def _recorded_epochs(self, job_id: str) -> list[int] | None:
        job = self.job_store.job(job_id)
        return [epoch["epoch"] for epoch in job.epochs] if job else None

    def _is_unfinished(self, job_id: str) -> bool:
        job = self.job_store.job(job_id)
        return job is not None and not Status(job.status).is_final

    def _end_processes(self) -> list[WorkerProcess]:
        """End all processes in parallel, and return the worker processes."""
        workers, self._running = self._running, []
        processes = [worker.process for worker in workers]
        subprocesses.end(*filter(None, [*processes, self.tracker.process]))
        self.tracker.end()
        self.standby.end()
        return workers
