"""Attempts at jobs in this process, on few images so that they are quick."""

import threading

import pytest

from app.errors import NotReady
from app.train import data, job
from app.train.attempt import Attempt
from app.train.data import Dataset, Digits
from app.train.hyperparameters import Hyperparameters
from app.train.run import perform


class Run:
    """An attempt that is about to be performed."""

    def __init__(self, attempt):
        self.attempt, self.job, self.stop = attempt, attempt.job, threading.Event()

    def run(self):
        perform(self.attempt, self.stop)


@pytest.fixture
def few(mnist, few_digits, monkeypatch):
    test = Digits(mnist.test.pixels[:500], mnist.test.labels[:500])
    monkeypatch.setattr(data, "load", lambda _: Dataset(few_digits, test, mnist.digest))


@pytest.fixture
def start(settings, store, registry, few):  # noqa: ARG001
    def start(job_id=None, **wanted):
        if job_id is None:
            wanted = Hyperparameters(**{"epochs": 3, "batch_size": 10, "seed": 11, **wanted})
            job_id = job.create(store, wanted, most_queued=9, key=None).id
        number = job.start(store, store.job(job_id))
        return Run(Attempt.begin(settings, store, registry, job_id, number))

    return start


@pytest.fixture
def untold(start, store, monkeypatch):
    """Give a job that is queued again, though its version is stored, and live where it should be:
    its last attempt could not tell so.
    """

    def away(*_):
        raise NotReady("The database does not answer.")

    def untold(promote):
        run = start(promote=promote, epochs=1)
        with monkeypatch.context() as patch, pytest.raises(NotReady):
            patch.setattr(Attempt, "succeed", away)
            run.run()
        job.release(store, store.job(run.job.id))
        return run.job.id

    return untold


def events(store, job_id, kind):
    return [event.data for event in store.events(job_id, kind=kind)]
