"""Checkpoints of jobs in a storage of its own, which only Ray Train reads."""

import warnings

import pytest

from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from tests.service.running import wait_until


@pytest.fixture(scope="module")
def storage():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        from app.on_ray import storage
    return storage


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def test_only_jobs_that_ended_lose_what_they_kept(storage, settings, store, runs):
    waiting, ended = (
        jobs.create(store, Hyperparameters(), max_queued=2, key=None).id for _ in range(2)
    )
    jobs.cancel(store, ended)
    for name in (waiting, ended, "others"):
        (runs / name / "checkpoint").mkdir(parents=True)
    storage.delete_finished_runs(settings.model_copy(update={"ray_storage": runs.as_uri()}))
    assert wait_until(lambda: not (runs / ended).exists())
    assert {path.name for path in runs.iterdir()} == {waiting, "others"}


def test_what_cannot_be_reached_is_left_for_the_next_time(storage, settings, runs, caplog):
    runs.write_text("a file")
    storage.delete_finished_runs(settings.model_copy(update={"ray_storage": runs.as_uri()}))
    assert wait_until(lambda: "runs could not be deleted" in caplog.text)
