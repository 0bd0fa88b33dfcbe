"""Exactly one per database: takes jobs from the queue and watches over their processes.

What enters: the queue. What leaves: one training process at a time, and the states of jobs whose
process ended. This module does not know how a network is trained.

Whoever holds the lease supervises. The training process reads from a pipe that this process holds
open, so that it ends when this process ends, however that happens; and whoever supervises next
finds the job still running without a process, and queues it again.
"""

import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from typing import Final, TextIO, cast

from app.settings import Settings
from app.store import Store
from app.tables import Job
from app.train import job as jobs
from app.train import saved
from app.train.assignment import Assignment
from app.train.job import Status

POLL: Final = 0.25
LEASE: Final = 10.0
RENEW: Final = 3.0
PATIENCE: Final = 5.0
log = logging.getLogger(__name__)


class Supervisor:
    """A thread that supervises for as long as it holds the lease. Use it as a context."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings, self.store = settings, store
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._stop = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._job: Job | None = None
        self._renewed = -LEASE

    def __enter__(self) -> "Supervisor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(POLL):
            try:
                if self._holds_lease():
                    self._step()
                else:
                    self._let_go()
            except Exception:  # a locked database or a full disk passes; supervision must go on
                log.exception("supervision failed, and is tried again")
        self._let_go()
        self.store.end_lease(self.holder)

    def _step(self) -> None:
        """Watch the process there is, or start the one that is due."""
        if self._process is None:
            self._adopt_orphan()
            self._start_next()
        elif self._process.poll() is not None or not self._runs():
            self._take_leave()

    def _holds_lease(self) -> bool:
        if time.monotonic() - self._renewed < RENEW:
            return True
        if not self.store.take_lease(self.holder, LEASE):
            self._end_lease_of_the_dead()
            return False
        self._renewed = time.monotonic()
        return True

    def _end_lease_of_the_dead(self) -> None:
        """Do not wait for the lease of a process of this host that is known to be gone."""
        holder = self.store.lease_holder()
        host, pid, _ = holder.rsplit(":", 2) if holder else ("", "0", "")
        if holder and host == socket.gethostname() and not _is_alive(int(pid)):
            self.store.end_lease(holder)

    def _let_go(self) -> None:
        """Stop the process, and queue its job again."""
        self._renewed = -LEASE
        if self._job:
            self._end_process()
            jobs.release(self.store, self._job)
            log.info("job %s: stopped, and queued again", self._job.id)
            self._job = None

    def _adopt_orphan(self) -> None:
        """Queue the jobs again whose supervisor died."""
        for job in self.store.jobs(Status.RUNNING):
            jobs.release(self.store, job)
            log.info("job %s: found without a process, and queued again", job.id)

    def _start_next(self) -> None:
        job = self.store.next_job(Status.QUEUED)
        attempt = jobs.start(self.store, job) if job else None
        if job is None or attempt is None:
            return
        self._job = jobs.get(self.store, job.id)
        try:
            self._process = _launch(
                Assignment(settings=self.settings, job_id=job.id, attempt=attempt)
            )
            log.info("job %s: attempt %d runs as process %d", job.id, attempt, self._process.pid)
        except OSError:
            log.exception("job %s: no process could be started", job.id)
            self._take_leave()

    def _runs(self) -> bool:
        return bool(self._job and jobs.get(self.store, self._job.id).status == Status.RUNNING)

    def _take_leave(self) -> None:
        """End the process; a job that it left running has lost it, any other needs it no more."""
        exit_code = self._end_process()
        if self._job is None:
            return
        job, self._job = jobs.get(self.store, self._job.id), None
        if job.status == Status.RUNNING:
            log.warning("job %s: its process died with exit code %d", job.id, exit_code)
            jobs.bury(self.store, job, exit_code)
        elif Status(job.status).is_final:
            saved.discard(saved.path_of(self.settings.jobs_dir, job.id))

    def _end_process(self) -> int:
        """End the process if there is one, and give its exit code."""
        if self._process is None:
            return -1
        _pipe(self._process).close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        exit_code = self._process.wait()
        self._process = None
        return exit_code


def _launch(assignment: Assignment) -> subprocess.Popen[str]:
    # Threads that wait by spinning would take the core that predictions need. A session of its own
    # keeps a terminal's Ctrl-C away: the process ends with its supervisor, in order.
    process = subprocess.Popen(
        [sys.executable, "-m", "app.train.run"],
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        start_new_session=True,
    )
    _pipe(process).write(assignment.model_dump_json() + "\n")
    _pipe(process).flush()
    return process


def _pipe(process: subprocess.Popen[str]) -> TextIO:
    return cast(TextIO, process.stdin)


def _is_alive(pid: int) -> bool:
    if (
        pid == os.getpid()
    ):  # a lease of this very process would have been renewed: the number is reused
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
