"""The start and the end of an attempt, and the errors that it records on the job."""

import errno
import gc
import re
import threading

import pytest

from app.errors import NotReady
from app.mnist.dataset import DatasetUnavailable
from app.train.jobs import job
from app.train.jobs.assignment import Assignment
from app.train.jobs.fenced_writer import Superseded
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes import dataset
from app.train.worker import __main__ as start
from app.train.worker import main


@pytest.fixture
def attempt(settings, store, registry):  # noqa: ARG001, there is a version to beat
    def attempt(**hyperparameters):
        created = job.create(store, Hyperparameters(**hyperparameters), max_queued=9, key=None)
        number = job.start(store, created)
        assignment = Assignment(settings=settings, job_id=created.id, attempt=number)
        main.run_attempt(assignment, threading.Event())
        return store.job(created.id)

    return attempt


def test_process_collects_what_it_allocates_after_its_imports(monkeypatch):
    states = []
    monkeypatch.setattr(main, "main", lambda: states.append(gc.isenabled()))
    try:
        start.main()
        assert states == [True]
        assert gc.get_freeze_count() > 0, "what was imported is not looked through"
    finally:
        gc.unfreeze()


def test_a_device_that_is_not_there_fails_the_job(attempt):
    ended = attempt(device="cuda:99")
    assert (ended.status, ended.error["code"]) == ("failed", "bad_device")
    assert "The device 'cuda:99' does not exist" in ended.error["message"]


def test_missing_data_fails_the_job(attempt, monkeypatch):
    def no_data(_):
        raise DatasetUnavailable("MNIST could not be read")

    monkeypatch.setattr(dataset, "load", no_data)
    assert attempt().error == {"code": "no_data", "message": "MNIST could not be read"}


def failing(error):
    def fail(_):
        raise error

    return fail


def test_an_unexpected_exception_is_tried_again(attempt, monkeypatch, caplog):
    monkeypatch.setattr(dataset, "load", failing(ValueError("a defect")))
    ended = attempt()
    assert (ended.status, ended.errors) == ("queued", 1)
    assert "a defect" in caplog.text


def test_a_full_disk_fails_the_job_the_third_time_in_clear_words(attempt, monkeypatch):
    monkeypatch.setattr(dataset, "load", failing(OSError(errno.ENOSPC, "No space left on device")))
    monkeypatch.setattr(job, "MAX_ERRORS", 1)
    ended = attempt()
    assert (ended.status, ended.error["code"]) == ("failed", "storage_failed")
    assert re.search("/var could not be written: .*No space", ended.error["message"])


def test_a_database_that_is_away_ends_the_process(settings, registry, store, monkeypatch):  # noqa: ARG001
    created = job.create(store, Hyperparameters(), max_queued=9, key=None)
    assignment = Assignment(settings=settings, job_id=created.id, attempt=job.start(store, created))
    monkeypatch.setattr(dataset, "load", failing(NotReady("The database does not answer")))
    with pytest.raises(SystemExit) as ended:
        main.run_attempt(assignment, threading.Event())
    assert ended.value.code == main.EXIT_IO_ERROR


def test_attempt_at_a_deleted_job_ends_as_a_superseded_one(settings, registry, store, caplog):  # noqa: ARG001
    """A client may cancel and delete a job before its process has begun."""
    created = job.create(store, Hyperparameters(), max_queued=9, key=None)
    assignment = Assignment(settings=settings, job_id=created.id, attempt=job.start(store, created))
    job.cancel(store, created.id)
    store.delete_jobs([created.id])
    with caplog.at_level("INFO"):
        main.run_attempt(assignment, threading.Event())
    records = [record for record in caplog.records if record.name == main.log.name]
    assert [record.levelname for record in records] == ["INFO"]
    assert "attempt superseded" in records[0].message


def test_a_superseded_attempt_ends_quietly(attempt, store, monkeypatch):
    def cancelled(_):
        job.cancel(store, store.jobs()[0].id)
        raise Superseded

    monkeypatch.setattr(dataset, "load", cancelled)
    assert (attempt().status, attempt().error) == ("cancelled", None)
