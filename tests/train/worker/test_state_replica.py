"""Copies of saved state in a bucket: what another service goes on from."""

import logging
import secrets
import threading
from io import BytesIO

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from app.feedback import FeedbackStore
from app.image.decode import open_image, to_grey
from app.train.jobs import job
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.worker import main, state, state_replica, trainer
from app.train.worker.attempt import JobAttempt, Stopped
from app.train.worker.state_replica import ReplicatedJobFiles
from app.versions.bucket.object_store import Bucket, BucketUnavailable
from tests.conftest import png
from tests.service.running import wait_until
from tests.train.conftest import Run, events
from tests.train.worker.test_resume import interrupt_after

MODELS_URL = "s3://bucket/mynet"


@pytest.fixture
def bucket(monkeypatch):
    """A bucket into which copies are made at the end of attempts, however long they take."""
    monkeypatch.setattr(state_replica, "COPY_INTERVAL", threading.TIMEOUT_MAX)
    bucket = Bucket(MemoryFileSystem(), f"{secrets.token_hex(4)}/mynet")
    monkeypatch.setattr(Bucket, "at", lambda *_: bucket)
    return bucket


@pytest.fixture
def stop_bucket(monkeypatch):
    """Return a function that makes the bucket unavailable."""

    def stop_bucket():
        def fail(*_, **__):
            raise BucketUnavailable(TimeoutError())

        monkeypatch.setattr(Bucket, "_ask", fail)

    return stop_bucket


@pytest.fixture
def service(settings, store, registry, small_dataset, bucket, tmp_path):  # noqa: ARG001
    """Begin attempts as a service with a folder of its own does."""

    def service(name, job_id=None, **hyperparameters):
        service_settings = {"state_dir": tmp_path / name, "models_url": MODELS_URL}
        if job_id is None:
            hyperparameters = Hyperparameters(**{"epochs": 3, "seed": 11, **hyperparameters})
            job_id = job.create(store, hyperparameters, max_queued=9, key=None).id
        else:
            job.requeue(store, store.job(job_id))
        number = job.start(store, store.job(job_id))
        service_settings = settings.model_copy(update=service_settings)
        return Run(JobAttempt.begin(service_settings, store, registry, job_id, number))

    return service


@pytest.fixture
def interrupted(service, monkeypatch):
    """A job that a service left after its second epoch."""

    def interrupted(name, **hyperparameters):
        run = service(name, **hyperparameters)
        with monkeypatch.context() as patch:
            interrupt_after(patch, "reset_failures", 2)
            with pytest.raises(KeyboardInterrupt):
                run.run()
        return run.job.id

    return interrupted


@pytest.fixture
def first_epochs(monkeypatch):
    """List the epoch at which each training starts."""
    epochs, real = [], trainer.resume

    def resume(*args):
        setup, position = real(*args)
        epochs.append(position.epoch)
        return setup, position

    monkeypatch.setattr(trainer, "resume", resume)
    return epochs


def add_correction(settings, grey, label):
    feedback = FeedbackStore(settings.feedback_dir, settings.max_feedback)
    feedback.add(to_grey(open_image(png(grey), 10_000)).pixels, label)


def test_another_service_goes_on_to_the_very_same_weights(
    service, interrupted, store, registry, uninterrupted, first_epochs
):
    reference = uninterrupted()
    first_epochs.clear()
    job_id = interrupted("one")
    service("other", job_id).run()
    assert first_epochs == [0, 2]
    result = registry.card(store.job(job_id).result["version"])
    assert result.weights_digest == reference.card.weights_digest
    assert events(store, job_id, "batch") == reference.batches


def test_a_copy_that_is_damaged_gives_way_to_the_one_before(
    service, interrupted, bucket, caplog, first_epochs
):
    job_id = interrupted("one")
    assert bucket.create(f"jobs/{job_id}/1-900.pt", b"damaged")
    service("other", job_id).run()
    assert first_epochs == [0, 2]
    assert f"copy is not a saved state: job={job_id} copy=jobs/{job_id}/1-900.pt" in caplog.text


def test_what_is_further_here_is_not_replaced(service, interrupted, first_epochs, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ReplicatedJobFiles, "_copy", lambda _: None)
        job_id = interrupted("one")
    second_run = service("one", job_id)
    assert second_run.attempt.files.download_newer() is None
    second_run.run()
    assert first_epochs == [0, 2]


def test_copy_that_is_further_replaces_the_state_that_is_here(service, interrupted, bucket):
    job_id = interrupted("one")
    (name,) = bucket.sizes()
    further = bucket.read(name)
    older, buffer = torch.load(BytesIO(further), weights_only=True), BytesIO()
    older["position"]["epoch"] -= 1
    torch.save(older, buffer)
    files = service("other", job_id).attempt.files
    state.write(files.state, buffer.getvalue())
    files.download_newer()
    assert files.state.read_bytes() == further


def test_an_older_attempt_takes_no_newer_copy_away(service, interrupted, bucket):
    job_id = interrupted("one")
    old, new = (
        ReplicatedJobFiles(service("one", job_id).attempt.files.folder, job_id, n, bucket)
        for n in (1, 2)
    )
    for files in (new, old):
        files._number = 500
        files._copy()
    assert {name.split("/")[-1] for name in bucket.sizes()} == {"1-500.pt", "2-500.pt"}
    new._last_copy = b""
    new._copy()
    assert [*bucket.sizes()] == [f"jobs/{job_id}/2-501.pt"], "the newest alone"


def test_corrections_are_those_of_the_first_attempt(
    service, interrupted, few_digits, store, registry, monkeypatch
):
    monkeypatch.setattr(
        ReplicatedJobFiles, "_copy", lambda _: None
    )  # but for these, nothing is copied
    first_run = service("one", include_feedback=True, epochs=1)
    add_correction(first_run.attempt.settings, few_digits.pixels[0].numpy(), 7)
    first_run.run()
    job_id = interrupted("one", include_feedback=True)
    other = service("other", job_id)
    for index in (1, 2):
        add_correction(other.attempt.settings, few_digits.pixels[index].numpy(), 3)
    other.run()
    assert registry.card(store.job(job_id).result["version"]).feedback == 1


def test_a_state_that_learnt_from_other_corrections_is_given_up(service, few_digits, bucket):
    run = service("one", include_feedback=True)
    files = run.attempt.files
    add_correction(run.attempt.settings, few_digits.pixels[0].numpy(), 7)
    bucket.create(f"jobs/{run.job.id}/corrections", b"those of another")
    files.store_corrections(b"its own")
    assert files.corrections.read_bytes() == b"those of another", "who was first decides"
    files.corrections.write_bytes(b"its own")
    files.state.write_bytes(b"learnt from its own")
    second_files = service("one", run.job.id).attempt.files
    second_files.download_newer()
    assert second_files.corrections.read_bytes() == b"those of another"
    assert not second_files.state.exists()


def test_while_the_bucket_is_away_a_job_goes_on_from_what_is_here(
    service, interrupted, stop_bucket, caplog, monkeypatch, first_epochs
):
    job_id = interrupted("one")
    local_run = service("one", job_id)
    stop_bucket()
    with monkeypatch.context() as patch:
        patch.setattr(main, "delete_old_versions", lambda *_: None)
        local_run.run()
    assert first_epochs == [0, 2]
    assert caplog.text.count("job resumes from local state") == 1
    assert caplog.text.count("state could not be copied") == 1


def test_where_nothing_is_here_it_waits_for_the_bucket(service, interrupted, stop_bucket, caplog):
    job_id = interrupted("one")
    remote_run = service("other", job_id)
    stop_bucket()
    remote_run.stop.set()
    with pytest.raises(Stopped):
        remote_run.run()
    assert "job waits to resume" in caplog.text


def test_copies_go_with_their_jobs(service, interrupted, store, bucket, stop_bucket, caplog):
    caplog.set_level(logging.INFO)
    interrupted_id = interrupted("one")
    bucket.create("jobs/unknown/1-0.pt", b"of a service with another database")
    bucket.create("jobs/unrelated", b"no copy at all")
    files = service("one", interrupted_id).attempt.files

    def has_ended(job_id):
        return main._has_ended(store, job_id)

    files.clean_up(has_ended)
    assert any(interrupted_id in name for name in bucket.sizes())
    job.cancel(store, interrupted_id)
    files.clean_up(has_ended)
    assert {*bucket.sizes()} == {"jobs/unknown/1-0.pt", "jobs/unrelated"}
    stop_bucket()
    files.clean_up(has_ended)
    assert "copies of ended jobs could not be deleted" in caplog.text


def test_copies_beat_only_while_the_training_waits_for_them(bucket, tmp_path):
    """A training that hangs would go unnoticed otherwise."""
    beats = []
    bucket.on_request = lambda: beats.append("beat")
    files = ReplicatedJobFiles(tmp_path, "job", 1, bucket)
    with files.replicating():
        files.state.write_bytes(b"copied while it trains")
        files._copy()
        assert beats == []
        files.state.write_bytes(b"copied when it has ended")
    assert beats


def test_a_copy_is_made_while_it_trains(service, bucket, monkeypatch):
    monkeypatch.setattr(state_replica, "COPY_INTERVAL", 0.001)
    copies, real = [], trainer.Trainer._save_checkpoint

    def check_copy(self):
        real(self)
        files = self.attempt.files
        content = files.state.read_bytes()
        assert wait_until(lambda: files._last_copy == content and len(bucket.sizes()) == 1)
        copies.extend(bucket.sizes())

    monkeypatch.setattr(trainer.Trainer, "_save_checkpoint", check_copy)
    run = service("one")
    run.run()
    assert len({*copies}) == 3, "the one before goes once the next is there"
