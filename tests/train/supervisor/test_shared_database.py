"""The ends of sweeps and jobs, where versions are in a bucket that another service shares."""

import secrets
from contextlib import contextmanager

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from app.net import MyNet
from app.train.jobs import job as jobs
from app.train.jobs import sweep
from app.train.jobs.assignment import SweepAssignment
from app.train.worker import main
from app.train.worker.attempt import JobAttempt
from app.train.worker.finish_sweep import finish_sweep
from app.versions.bucket.object_store import Bucket, BucketUnavailable
from app.versions.bucket.registry import BucketRegistry
from tests.train.conftest import Run
from tests.train.jobs.test_sweep import end, ended, sweeps  # noqa: F401


@pytest.fixture
def mirror(tmp_path):
    """Open a service's registry of one bucket."""
    root = f"{secrets.token_hex(4)}/mynet"
    return lambda name: BucketRegistry(tmp_path / name, Bucket(MemoryFileSystem(), root))


@pytest.fixture
def registry(mirror):
    registry = mirror("first")
    registry.adopt_shipped()
    registry.promote(1)
    return registry


@pytest.fixture
def unread(monkeypatch):
    """Let a version not be read, so many times."""

    @contextmanager
    def unread(version, times):
        def read(bucket, name):
            if name == f"{version}.safetensors" and left:
                raise BucketUnavailable(left.pop())
            return real(bucket, name)

        left, real = [TimeoutError()] * times, Bucket.read
        with monkeypatch.context() as patch:
            patch.setattr(Bucket, "read", read)
            yield

    return unread


def test_the_best_goes_live_for_all(ended, end, registry, mirror):  # noqa: F811
    assert end(ended((0.9, 0.1), (0.8, 0.1))).result["version"] == 2
    other = mirror("other")
    other.catch_up()
    assert other.history() == registry.history() == [2, 1]


@pytest.mark.usefixtures("few")
def test_a_best_that_cannot_be_fetched_does_not_give_way(
    ended,  # noqa: F811
    settings,
    sweeps,  # noqa: F811
    mirror,
    unread,
):
    row, other = ended((0.9, 0.1), (0.8, 0.1)), mirror("other")
    conclusion = SweepAssignment(settings=settings, sweep_id=row.id)
    with unread(2, times=1):
        with pytest.raises(BucketUnavailable):
            finish_sweep(conclusion, sweeps, other)
        assert sweep.get(sweeps, row.id).status == "running"
        finish_sweep(conclusion, sweeps, other)
    assert sweep.get(sweeps, row.id).result["version"] == 2
    assert other.history() == [2, 1]


def test_a_version_that_cannot_be_fetched_is_not_stored_again(
    untold, settings, store, mirror, monkeypatch, unread
):
    job_id = untold("never")
    number, other = jobs.start(store, store.job(job_id)), mirror("other")
    monkeypatch.setattr(main, "STARTUP_RETRY_INTERVAL", 0.0)
    with unread(2, times=3):
        Run(JobAttempt.begin(settings, store, other, job_id, number)).run()
    assert store.job(job_id).result["version"] == 2
    assert other.versions() == [1, 2]


def test_a_job_that_stored_nothing_waits_for_no_version(
    start, settings, store, registry, mirror, monkeypatch, unread
):
    monkeypatch.setattr(main, "STARTUP_RETRY_INTERVAL", 0.0)
    registry.save(MyNet().state_dict(), registry.card(1))
    asked, other = start(promote="never", epochs=1), mirror("other")
    with unread(2, times=100):
        Run(JobAttempt.begin(settings, store, other, asked.job.id, 1)).run()
    assert store.job(asked.job.id).result["version"] == 3
    assert other.versions() == [1, 3]


def test_a_promotion_whose_answer_was_lost_is_not_made_again_over_what_came_after(
    start, store, registry, mirror, monkeypatch
):
    def promote(registry, version, **options):
        done = real(registry, version, **options)
        if version == 2:
            monkeypatch.setattr(BucketRegistry, "promote", real)
            other = mirror("other")
            other.promote(other.save(MyNet().state_dict(), registry.card(1)))
            raise BucketUnavailable(TimeoutError())
        return done

    real = BucketRegistry.promote
    monkeypatch.setattr(main, "STARTUP_RETRY_INTERVAL", 0.0)
    asked = start(promote="always", epochs=1)
    monkeypatch.setattr(BucketRegistry, "promote", promote)
    asked.run()
    assert registry.history() == [3, 2, 1]
    assert store.job(asked.job.id).result["promoted"] is True
