"""Jobs whose versions are in a bucket that another service shares."""

import secrets
from contextlib import contextmanager

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from app.torch_net import MyNet, weights_of
from app.train.jobs import job as jobs
from app.train.worker import main
from app.train.worker.attempt import JobAttempt
from app.versions.bucket.object_store import Bucket, BucketUnavailable
from app.versions.bucket.registry import BucketRegistry
from tests.train.conftest import Run


@pytest.fixture
def make_registry(tmp_path):
    """Open a service's registry of one bucket."""
    root = f"{secrets.token_hex(4)}/mynet"
    return lambda name: BucketRegistry(tmp_path / name, Bucket(MemoryFileSystem(), root))


@pytest.fixture
def registry(make_registry):
    registry = make_registry("first")
    registry.import_bundled()
    registry.promote(1)
    return registry


@pytest.fixture
def fail_reads(monkeypatch):
    """Fail to read a version, so many times."""

    @contextmanager
    def fail_reads(version, times):
        def read(bucket, name):
            if name == f"{version}.safetensors" and errors:
                raise BucketUnavailable(errors.pop())
            return real(bucket, name)

        errors, real = [TimeoutError()] * times, Bucket.read
        with monkeypatch.context() as patch:
            patch.setattr(Bucket, "read", read)
            yield

    return fail_reads


def test_a_version_that_cannot_be_fetched_is_not_stored_again(
    unreported_job, settings, store, make_registry, monkeypatch, fail_reads
):
    job_id = unreported_job("never")
    number, other = jobs.start(store, store.job(job_id)), make_registry("other")
    monkeypatch.setattr(main, "RETRY_INTERVAL", 0.0)
    with fail_reads(2, times=3):
        Run(JobAttempt.begin(settings, store, other, job_id, number)).run()
    assert store.job(job_id).result["version"] == 2
    assert other.versions() == [1, 2]


def test_a_job_that_stored_nothing_waits_for_no_version(
    start, settings, store, registry, make_registry, monkeypatch, fail_reads
):
    monkeypatch.setattr(main, "RETRY_INTERVAL", 0.0)
    registry.save(weights_of(MyNet()), registry.card(1))
    run, other = start(promote="never", epochs=1), make_registry("other")
    with fail_reads(2, times=100):
        Run(JobAttempt.begin(settings, store, other, run.job.id, 1)).run()
    assert store.job(run.job.id).result["version"] == 3
    assert other.versions() == [1, 3]


def test_a_promotion_whose_answer_was_lost_is_not_made_again_over_what_came_after(
    start, store, registry, make_registry, monkeypatch
):
    def promote(registry, version, **options):
        done = real(registry, version, **options)
        if version == 2:
            monkeypatch.setattr(BucketRegistry, "promote", real)
            other = make_registry("other")
            other.promote(other.save(weights_of(MyNet()), registry.card(1)))
            raise BucketUnavailable(TimeoutError())
        return done

    real = BucketRegistry.promote
    monkeypatch.setattr(main, "RETRY_INTERVAL", 0.0)
    run = start(promote="always", epochs=1)
    monkeypatch.setattr(BucketRegistry, "promote", promote)
    run.run()
    assert registry.history() == [3, 2, 1]
    assert store.job(run.job.id).result["promoted"] is True
