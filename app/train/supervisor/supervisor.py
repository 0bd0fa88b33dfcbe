"""Exactly one per database: takes jobs from the queue and watches over their processes.

What enters: the queue. What leaves: as many training processes at once as the settings say, and
the states of jobs whose process ended. This module does not know how a network is trained.

Whoever holds the lease supervises. A training process reads from a pipe that this process holds
open, so that it ends when this process ends, however that happens; and whoever supervises next
finds its job still running without a process, and queues it again.
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
from app.database.sqlite import Damaged, DiskFull
from app.database.store import Store
from app.database.tables import now
from app.errors import NotReady
from app.train.jobs import job as jobs
from app.train.jobs.assignment import Assignment
from app.train.jobs.job import Status
from app.train.supervisor.lease import Lease
from app.train.supervisor.mlflow_process import Tracker
from app.train.supervisor.sweep_finisher import Conclusions
from app.train.supervisor.worker_process import Running, told_of
from app.train.worker import state

TRAINER: Final = "app.train.worker.main"
NO_BACK_UP_FOR: Final = 30.0
TIDY_EVERY: Final = 3600.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long supervision waits for what, in seconds."""

    # Between two looks at the queue and at the processes.
    poll: float = 0.25
    # Until a step is tried again that the database or the disk refused.
    retry: float = 2.0
    # Before a failed job is started again, times 2 to the power of its failures.
    back_off: float = jobs.BACK_OFF
    # For the end of all jobs' processes, and for the database to be told.
    end: float = 7.0


TIMING: Final = Timing()


class Supervisor:
    """A thread that supervises for as long as it holds the lease. Use it as a context."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        trainer: str = TRAINER,
        sweep: Callable[[Settings], None] = lambda _: None,
        *,
        start: Callable[[str, str], subprocess.Popen[str]] = subprocesses.start,
        timing: Timing = TIMING,
    ) -> None:
        self.settings, self.store, self.trainer, self.sweep = settings, store, trainer, sweep
        self.start, self.timing = start, timing
        self.lease, self.tracker = Lease(settings.state_dir, store), Tracker(settings)
        self.conclusions = Conclusions(settings, store, start=start, back_off=timing.back_off)
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._stop = threading.Event()
        self._running: list[Running] = []
        self._tidy_at = self._back_up_at = 0.0
        self._forgets = False
        self._end_by = float("inf")

    def __enter__(self) -> "Supervisor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(max(0.0, self._end_by - time.monotonic()))
        if self._thread.is_alive():  # processes end with this one; their jobs are found later
            log.error("the database does not answer: its jobs are left to who supervises next")

    def stop(self) -> None:
        """Start nothing any more, and queue the running jobs again. Does not wait."""
        if not self._stop.is_set():
            self._end_by = time.monotonic() + self.timing.end
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self.timing.poll):
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
                self._end_processes()  # whoever supervises next finds their jobs
            self._stop.wait(self.timing.retry)

    def _try_to_mend(self) -> None:
        try:
            self.store.mend()
        except (NotReady, OSError) as error:
            log.error("the database cannot be mended: %s", error)

    def _turn(self) -> None:
        if self.lease.hold():
            self._back_up()  # first, since the end of a process is waited for
            self._step()
            self._tidy()
            self.tracker.keep()
        else:
            self._let_go()

    def _step(self) -> None:
        """Watch the processes there are, and start the one that is due."""
        self._take_leave()
        if len(self._running) < self.settings.train_jobs:
            self._adopt_orphans()
            self._start_next()
        self.conclusions.keep()

    def _let_go(self) -> None:
        """Stop the processes, and queue their jobs again."""
        for each in self._end_processes():
            each.let_go()

    def _tidy(self) -> None:
        """Remove what nobody needs any more, and keep some room for bad days."""
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_EVERY
            atomic_files.remove_temporary_files(self.settings.state_dir)
            self._tidy_saved()
            if self.store.reserve:
                self.store.reserve.keep()
            self._forgets = True
        if self._forgets:  # a part in each turn, since there may be millions
            days = timedelta(days=self.settings.keep_events_days)
            self._forgets = self.store.forget_events(now() - days)

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
        ours = {each.job.id for each in self._running}
        for job in self.store.jobs(Status.RUNNING):
            if job.id not in ours and jobs.release(self.store, job):
                log.info(
                    "job %s: found without a process, and queued again", job.id, extra=told_of(job)
                )

    def _start_next(self) -> None:
        due = self.store.next_job(Status.QUEUED)
        attempt = jobs.start(self.store, due) if due else None
        if due is None or attempt is None:
            return
        job = jobs.get(self.store, due.id)
        assignment = Assignment(settings=self.settings, job_id=job.id, attempt=attempt)
        begun = Running(self.store, job, None, self.timing.back_off)
        self._running.append(begun)
        try:
            begun.process = self.start(self.trainer, assignment.model_dump_json())
            pid = begun.process.pid
            log.info(
                "job %s: attempt %d runs as process %d", job.id, attempt, pid, extra=told_of(job)
            )
        except OSError:
            log.exception("job %s: no process could be started", job.id, extra=told_of(job))

    def _take_leave(self) -> None:
        """End what is over, all of it at once, and see what becomes of the jobs."""
        over = [each for each in self._running if each.is_over()]
        subprocesses.end(*(each.process for each in over if each.process))
        for each in over:
            each.take_leave()
            self._running.remove(each)
        if over:
            self._tidy_saved()

    def _tidy_saved(self) -> None:
        state.sweep(self.settings.jobs_dir, self._is_unfinished, writers=bool(self._running))
        self.sweep(self.settings)

    def _is_unfinished(self, job_id: str) -> bool:
        job = self.store.job(job_id)
        return job is not None and not Status(job.status).is_final

    def _end_processes(self) -> list[Running]:
        """End every process, all at once, and give the attempts that ran."""
        ended, self._running = self._running, []
        processes = [each.process for each in ended]
        subprocesses.end(
            *filter(None, [*processes, self.tracker.process, self.conclusions.process])
        )
        self.tracker.end()
        self.conclusions.end()
        return ended
