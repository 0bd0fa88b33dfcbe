"""Exactly one per database: takes jobs from the queue and watches over their processes.

What enters: the queue. What leaves: one training process at a time, and the states of jobs whose
process ended. This module does not know how a network is trained.

Whoever holds the lease supervises. The training process reads from a pipe that this process holds
open, so that it ends when this process ends, however that happens; and whoever supervises next
finds the job still running without a process, and queues it again.
"""

import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from app import durable, logs
from app.errors import NotReady
from app.settings import Settings
from app.sqlite import Damaged, DiskFull
from app.store import Store
from app.tables import Job, now
from app.train import job as jobs
from app.train import process, saved
from app.train.assignment import Assignment
from app.train.job import Status
from app.train.lease import Lease
from app.train.tracker import Tracker

TRAINER: Final = "app.train.run"
POLL: Final = 0.25
RETRY: Final = 2.0
NO_BACK_UP_FOR: Final = 30.0
SWEEP_EVERY: Final = 3600.0
UNWRITABLE: Final = (
    "The training process could not write to the database or the state folder; "
    "the service's log tells why."
)
log = logging.getLogger(__name__)


class Supervisor:
    """A thread that supervises for as long as it holds the lease. Use it as a context."""

    def __init__(self, settings: Settings, store: Store, trainer: str = TRAINER) -> None:
        self.settings, self.store, self.trainer = settings, store, trainer
        self.lease = Lease(settings.state_dir, store)
        self.tracker = Tracker(settings)
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._stop = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._job: Job | None = None
        self._sweep_at = self._back_up_at = 0.0

    def __enter__(self) -> "Supervisor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """Start nothing any more, and queue the running job again. Does not wait."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(POLL):
            self._try(self._turn)
        self._try(self._let_go)
        self._try(self.lease.end)

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # a locked database or a full disk passes; this must go on
            known = isinstance(error, NotReady | OSError)
            log.error("supervision is tried again: %s", error, exc_info=None if known else error)
            if isinstance(error, Damaged):
                self._try_to_mend()
            if self.lease.may_have_lapsed():
                self._end_process()
                self.tracker.end()
            self._stop.wait(RETRY)

    def _try_to_mend(self) -> None:
        try:
            self.store.mend()
        except (NotReady, OSError) as error:
            log.error("the database cannot be mended: %s", error)

    def _turn(self) -> None:
        if self.lease.hold():
            self._back_up()  # first, since the end of a process is waited for
            self._step()
            self._sweep()
            self.tracker.keep()
        else:
            self._let_go()

    def _step(self) -> None:
        """Watch the process there is, or start the one that is due."""
        if self._process is None:
            self._adopt_orphans()
            self._start_next()
        elif self._process.poll() is not None or not self._runs():
            self._take_leave()

    def _let_go(self) -> None:
        """Stop the process, and queue its job again."""
        self._end_process()
        self.tracker.end()
        if self._job:
            if jobs.release(self.store, self._job):
                log.info("job %s: stopped, and queued again", self._job.id, extra=_of(self._job))
            self._job = None

    def _sweep(self) -> None:
        """Remove what nobody needs any more, and keep some room for bad days."""
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_EVERY
            durable.sweep(self.settings.state_dir)
            if self._process is None:
                saved.sweep(self.settings.jobs_dir, self._is_unfinished)
            if self.store.reserve:
                self.store.reserve.keep()
            self.store.forget_events(now() - timedelta(days=self.settings.keep_events_days))

    def _back_up(self) -> None:
        """Keep a copy of what matters, where there is room for it."""
        if self.store.backup and time.monotonic() >= self._back_up_at:
            try:
                self.store.backup.keep()
            except (DiskFull, OSError) as error:
                self._back_up_at = time.monotonic() + NO_BACK_UP_FOR
                log.error("the database cannot be backed up: %s", error)

    def _adopt_orphans(self) -> None:
        """Queue the jobs again whose supervisor died."""
        for job in self.store.jobs(Status.RUNNING):
            if jobs.release(self.store, job):
                log.info(
                    "job %s: found without a process, and queued again", job.id, extra=_of(job)
                )

    def _start_next(self) -> None:
        job = self.store.next_job(Status.QUEUED)
        attempt = jobs.start(self.store, job) if job else None
        if job is None or attempt is None:
            return
        self._job = jobs.get(self.store, job.id)
        try:
            self._process = _launch(
                Assignment(settings=self.settings, job_id=job.id, attempt=attempt), self.trainer
            )
            pid = self._process.pid
            log.info("job %s: attempt %d runs as process %d", job.id, attempt, pid, extra=_of(job))
        except OSError:
            log.exception("job %s: no process could be started", job.id, extra=_of(job))
            self._take_leave()

    def _runs(self) -> bool:
        return bool(self._job and jobs.get(self.store, self._job.id).status == Status.RUNNING)

    def _take_leave(self) -> None:
        """End the process; a job that it left running has lost it, any other needs it no more."""
        exit_code = self._end_process()
        if self._job is None:
            return
        job = jobs.get(self.store, self._job.id)
        if job.status == Status.RUNNING:
            log.warning(
                "job %s: its process died with exit code %d", job.id, exit_code, extra=_of(job)
            )
            if exit_code == os.EX_IOERR:
                jobs.stumble(self.store, job.id, job.attempt, "storage_failed", UNWRITABLE)
            else:
                jobs.bury(self.store, job, exit_code)
        self._job = None
        saved.sweep(self.settings.jobs_dir, self._is_unfinished)

    def _is_unfinished(self, job_id: str) -> bool:
        job = self.store.job(job_id)
        return job is not None and not Status(job.status).is_final

    def _end_process(self) -> int:
        """End the process if there is one, and give its exit code."""
        if self._process is None:
            return -1
        exit_code = process.end(self._process)
        self._process = None
        return exit_code


def _launch(assignment: Assignment, trainer: str) -> subprocess.Popen[str]:
    return process.start(trainer, assignment.model_dump_json())


def _of(job: Job) -> dict[str, logs.Known]:
    return logs.known(job_id=job.id)
