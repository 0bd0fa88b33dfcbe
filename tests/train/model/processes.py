"""Worker processes that the test ends as it likes. They run the product's `run_attempt`.

Only the training itself is a stand-in: it records what the trainer records, in the same order.
"""

import os
import subprocess
import threading
from contextlib import suppress

from app.errors import NotReady
from app.train.jobs.assignment import Assignment
from app.train.jobs.phase import Phase
from app.train.worker import main
from app.train.worker.attempt import Diverged, Stopped
from tests.train.model.stepping import Task, current_task

ERRORS = {
    "diverged": Diverged("The loss became nan."),
    "disk": OSError(28, "No space left on device"),
    "bug": ValueError("a bug"),
    "database": NotReady("The database does not answer."),
}
# What a process does when its pipe closes: it saves and exits, exits at once (its grace is over),
# does not react, or waits for a disk, so that it cannot even be killed.
MANNERS = ("save", "exit", "hang", "unkillable")
KILLED = -9


class FakeProcess:
    """A `Popen` whose program is a task. It waits for its line: until then it has no task."""

    def __init__(self, world, service, manner, pid):
        self.world, self.service, self.manner, self.pid = world, service, manner, pid
        self.assignment, self.job_id, self.attempt, self.task = None, None, None, None
        self.returncode, self.fault, self.is_killed = None, None, False
        self.has_failed = False  # by itself, and not at the wish of a client or of the service
        self.stop, self.stdin = threading.Event(), self
        self._line, self._exited = "", threading.Event()
        reader, self._writer = os.pipe()
        self.stdout = os.fdopen(reader)

    @property
    def is_working(self):
        return self.task is not None and self.returncode is None

    # Its standard input: a buffer, and a pipe that breaks when the process has died.

    def write(self, text):
        self._line += text

    def flush(self):
        if self.returncode is not None:
            raise BrokenPipeError
        self.assignment = Assignment.model_validate_json(self._line)
        self.job_id, self.attempt = self.assignment.job_id, self.assignment.attempt
        self.task = Task(main.run_attempt, self.assignment, self.stop)
        self.task.process = self

    def close(self):
        self.stop.set()
        if self._line and self.task is None:
            raise BrokenPipeError

    # The process

    def poll(self):
        return self.returncode

    def kill(self):
        self.is_killed = True
        if self.manner != "unkillable":
            self.end(KILLED)

    def wait(self, timeout=None):
        if timeout is None:  # in a thread that reaps a process which exits late
            self._exited.wait()
        elif self.returncode is None and self.stop.is_set():
            if self.manner == "save":
                while self.is_working and self.task.stopped_at != "lock":
                    self.go_on()
            if self.manner in ("save", "exit"):
                self.end(0)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("worker", timeout)
        return self.returncode

    def go_on(self):
        """Run it to its next transaction, or to its exit without an assignment."""
        if self.task is None:
            if self.stop.is_set():
                self.end(0)
            return
        self.task.step()
        self.world.check()
        if self.task.is_over and self.returncode is None:
            error = self.task.error
            assert error is None or isinstance(error, SystemExit), repr(error)
            self._exit(error.code if error else 0)
            self.has_failed |= error is not None

    def end(self, code):
        if self.returncode is None:
            if self.task:
                self.task.kill()
            self._exit(code)

    def _exit(self, code):
        self.returncode = code
        self._exited.set()

    def beat(self):
        with suppress(OSError):
            os.write(self._writer, b".")

    def discard(self):
        self.end(KILLED)
        self.stdout.close()
        os.close(self._writer)


def train(attempt, stop, *_):
    """Record a training of one batch for each epoch, as the trainer does."""
    process = _process_of(attempt)
    writer, job, world = attempt.writer, attempt.job, process.world
    writer.begin_phase(Phase.LOADING)
    writer.begin_phase(Phase.TRAINING)
    epochs, recorded = list(job.epochs), (job.progress or {"epoch": -1})["epoch"]
    saved = world.saved_epochs
    place = process.service.name, job.id
    for epoch in range(saved.get(place, 0), attempt.hyperparameters.epochs):
        _raise_fault(process)
        if epoch > recorded:
            writer.record("batch", {"epoch": epoch}, progress={"epoch": epoch, "eta": 1.0})
        if epoch >= len(epochs):
            epochs.append({"epoch": epoch, "test_loss": 0.5})
            writer.record("epoch", epochs[-1], epochs=list(epochs))
        saved[place] = epoch + 1
        writer.reset_failures()
        if stop.is_set():
            raise Stopped
        if attempt.hyperparameters.max_seconds:
            writer.complete_progress()
            break
    _finish(process, attempt)


def _finish(process, attempt):
    """Store a version once, and report it, as `finish` does."""
    writer, versions = attempt.writer, process.world.versions
    writer.begin_phase(Phase.EVALUATING)
    writer.is_committing()
    _raise_fault(process)
    if attempt.job.id not in versions:
        writer.begin_commit()
        writer.begin_phase(Phase.STORING)
        versions[attempt.job.id] = len(versions) + 2
    writer.begin_commit()
    _raise_fault(process)
    result = {"version": versions[attempt.job.id], "test_accuracy": 0.9, "promoted": False}
    writer.succeed(result)


def _raise_fault(process):
    if process.fault:
        process.has_failed = True
        raise ERRORS[process.fault]


def _process_of(attempt):
    process = current_task().process
    assert (process.job_id, process.attempt) == (attempt.job.id, attempt.writer.attempt)
    return process
