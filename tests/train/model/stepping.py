"""Threads that run one database transaction at a time, in an order that the test chooses.

A task stops before each of its transactions, and where it would wait. So the test can put any step
of another task in between, or end a task there, as `kill -9` does.
"""

import threading
from contextlib import contextmanager

from app.database.database import Database

_running = threading.local()


class Killed(BaseException):
    """The process of the task died here."""


class Task:
    """A call in a thread of its own; `stopped_at` says what it does next."""

    def __init__(self, work, *arguments):
        self.is_over, self.error, self.stopped_at = False, None, "start"
        self._go, self._stopped, self._is_killed = threading.Lock(), threading.Lock(), False
        self._go.acquire()
        self._stopped.acquire()
        self._thread = threading.Thread(target=self._run, args=(work, arguments), daemon=True)
        self._thread.start()

    def _run(self, work, arguments):
        _running.task = self
        try:
            self._wait_for_go()
            work(*arguments)
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        self.is_over = True
        self._stopped.release()

    def step(self):
        """Run it to its next stop."""
        if not self.is_over:
            self._go.release()
            self._stopped.acquire()

    def kill(self):
        """End it where it has stopped."""
        self._is_killed = True
        self.step()
        assert self.is_over

    def stop_before(self, what):
        self.stopped_at = what
        self._stopped.release()
        self._wait_for_go()

    def _wait_for_go(self):
        self._go.acquire()
        if self._is_killed:
            raise Killed


def current_task():
    """Return the task of this thread, or None if it is none."""
    return getattr(_running, "task", None)


def stop_before(what):
    """Stop the task of this thread, if it is one."""
    if task := current_task():
        task.stop_before(what)


class SteppedDatabase(Database):
    """A database whose tasks stop before each transaction."""

    def read(self):
        stop_before("transaction")
        return super().read()

    def write(self, work, *, vital=False):
        stop_before("transaction")
        return super().write(work, vital=vital)

    def write_exclusively(self, work):
        stop_before("transaction")
        return super().write_exclusively(work)


class SteppedEvent(threading.Event):
    """An event that takes no time to wait for: the test goes on when it likes."""

    def wait(self, timeout=None):  # noqa: ARG002
        stop_before("wait")
        return self.is_set()


class SteppedLocks:
    """File locks of jobs: a task that must wait stops, and looks again when it goes on."""

    def __init__(self):
        self._held = set()

    @contextmanager
    def hold(self, folder, job_id):
        while (folder, job_id) in self._held:
            stop_before("lock")
        self._held.add((folder, job_id))
        try:
            yield
        finally:
            self._held.discard((folder, job_id))
