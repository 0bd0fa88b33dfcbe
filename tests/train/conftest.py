"""Attempts at jobs in this process, on few images so that they are quick."""

import json
import math
import subprocess
import threading
from dataclasses import dataclass, replace

import pytest

from app.errors import NotReady
from app.train.jobs import job
from app.train.jobs.checkpoints import Checkpoints
from app.train.jobs.fenced_writer import FencedWriter
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.plan import initial_weights
from app.train.recipes import dataset
from app.train.recipes.dataset import Dataset, Digits
from app.train.supervisor.supervisor import Supervisor, Timing
from app.train.worker import trainer
from app.train.worker.attempt import JobAttempt
from app.train.worker.main import train_and_promote
from app.train.worker.state import FileCheckpointer
from app.versions.card import Card

# Shell code of processes that stand in for a training.
WAIT_COMMAND = "exec cat"
CRASH_COMMAND = "exit 3"
# No test waits for a poll or a back-off of production; the end takes as long as it takes.
FAST_TIMING = Timing(poll=0.01, busy=0.01, idle=0.01, retry=0.05, back_off=0.01, end=120.0)


class StandIn:
    """Starts shell code in place of training processes."""

    def __init__(self):
        self.code, self.code_of, self.started = WAIT_COMMAND, {}, {}

    def __call__(self, _module, line):
        job_id = json.loads(line)["job_id"]
        command = ["sh", "-c", self.code_of.get(job_id, self.code)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.started[job_id] = subprocess.Popen(command, **pipes, text=True)
        return self.started[job_id]


@pytest.fixture
def stand_in():
    return StandIn()


@pytest.fixture
def supervise(settings, store, stand_in):
    """Make a supervisor whose processes run the code of `stand_in`."""

    def supervise(start=stand_in, **timing):
        return Supervisor(
            settings, store.database, start=start, timing=replace(FAST_TIMING, **timing)
        )

    return supervise


class Run:
    """An attempt that is about to be performed."""

    def __init__(self, attempt):
        self.attempt, self.job, self.stop = attempt, attempt.job, threading.Event()

    def run(self):
        checkpointer = FileCheckpointer(self.attempt.files.state)
        train_and_promote(self.attempt, self.stop, checkpointer)


@pytest.fixture
def small_dataset(mnist, few_digits, monkeypatch):
    """Train on few images, and save at the end of each epoch alone, however long it takes."""
    test = Digits(mnist.test.pixels[:500], mnist.test.labels[:500])
    monkeypatch.setattr(dataset, "load", lambda _: Dataset(few_digits, test, mnist.digest))
    monkeypatch.setattr(trainer, "SAVE_INTERVAL", math.inf)


@pytest.fixture
def checkpoints(settings):
    return Checkpoints(settings.checkpoints_dir, settings.keep_checkpoints)


@pytest.fixture
def start(settings, store, registry, checkpoints, small_dataset):  # noqa: ARG001
    def read_init(init):
        return initial_weights.read(init, registry, checkpoints)

    def start(job_id=None, **hyperparameters):
        if job_id is None:
            hyperparameters = Hyperparameters(**{"epochs": 3, "seed": 11, **hyperparameters})
            job_id = job.create(
                store, hyperparameters, max_queued=9, key=None, read_init=read_init
            ).id
        number = job.start(store, store.job(job_id))
        return Run(JobAttempt.begin(settings, store, registry, job_id, number))

    return start


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves that was not interrupted."""

    card: Card
    batches: list
    epochs: list


@pytest.fixture(scope="session")
def trainings():
    """What trainings left, by their hyperparameters: the same ones leave the same, to the bit."""
    return {}


@pytest.fixture
def uninterrupted(start, store, registry, trainings):
    """Train without an interruption, unless another test has done so."""

    def uninterrupted(**hyperparameters):
        key = json.dumps(hyperparameters, sort_keys=True)
        if key not in trainings:
            run = start(**hyperparameters)
            run.run()
            trainings[key] = TrainingResult(
                registry.card(store.job(run.job.id).result["version"]),
                events(store, run.job.id, "batch"),
                events(store, run.job.id, "epoch"),
            )
        return trainings[key]

    return uninterrupted


@pytest.fixture
def unreported_job(start, store, monkeypatch):
    """Return a job that is queued again, though its version is stored, and live where it should be:
    its last attempt could not tell so.
    """

    def raise_not_ready(*_):
        raise NotReady("The database does not answer.")

    def unreported_job(promote):
        run = start(promote=promote, epochs=1)
        with monkeypatch.context() as patch, pytest.raises(NotReady):
            patch.setattr(FencedWriter, "succeed", raise_not_ready)
            run.run()
        job.requeue(store, store.job(run.job.id))
        return run.job.id

    return unreported_job


def events(store, job_id, kind):
    return [event.data for event in store.events(job_id, kind=kind)]
