"""Checkpoints of epochs: stored, listed, bounded, made versions, and deleted with their job."""

import os

import pytest

from app.database.sweeps import SweepStore
from app.errors import Conflict, NotFound
from app.train.jobs import deletion, job
from app.train.jobs.checkpoints import Checkpoints, store_as_version
from tests.train.worker.test_resume import interrupt_after, interrupt_batch

JOBS = ("0123456789abcdef", "fedcba9876543210")


@pytest.fixture
def weights(registry):
    return registry.weights(1)


@pytest.fixture
def card(registry):
    return registry.card(1)


def digests(checkpoints, job_id):
    return [
        checkpoints.read(job_id, epoch)[1].weights_digest for epoch in checkpoints.sizes(job_id)
    ]


def test_each_epoch_leaves_a_checkpoint_that_can_become_a_version(
    start, store, registry, checkpoints, uninterrupted
):
    run = start(epochs=3, keep_checkpoints=True, promote="never")
    run.run()
    sizes = checkpoints.sizes(run.job.id)
    assert list(sizes) == [0, 1, 2]
    assert all(1_386_968 < size < 1_400_000 for size in sizes.values())
    own = registry.card(store.job(run.job.id).result["version"])
    assert own.checkpoint is None
    assert digests(checkpoints, run.job.id)[2] == own.weights_digest
    live = registry.current()
    card, is_new = store_as_version(registry, checkpoints, run.job.id, 1)
    assert (is_new, card.checkpoint, card.job, card.version) == (
        True,
        1,
        run.job.id,
        own.version + 1,
    )
    assert card.weights_digest == uninterrupted(epochs=2).card.weights_digest
    assert card.test_accuracy == card.epochs[-1].test_accuracy
    assert [epoch.epoch for epoch in card.epochs] == [0, 1]
    assert registry.current() == live
    assert store_as_version(registry, checkpoints, run.job.id, 1) == (card, False)
    registry.promote(card.version)
    assert registry.current() == card.version


def test_checkpoint_has_the_metrics_of_the_version_with_the_same_weights(
    start, store, registry, checkpoints
):
    run = start(epochs=1, keep_checkpoints=True, promote="never")
    run.run()
    own = registry.card(store.job(run.job.id).result["version"])
    card, _ = store_as_version(registry, checkpoints, run.job.id, 0)
    different = {"version", "created_at", "checkpoint"}
    assert card.model_dump(exclude=different) == own.model_dump(exclude=different)


@pytest.mark.parametrize(("function", "calls"), [("reset_failures", 1), ("record", 4)])
def test_interrupted_job_ends_with_the_same_checkpoints(
    start, store, checkpoints, monkeypatch, function, calls
):
    """Also if a checkpoint becomes a version while its job waits to resume."""
    runs = [start(epochs=3, keep_checkpoints=True, promote="never") for _ in range(2)]
    runs[0].run()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, function, calls)
        runs[1].run()
    job.requeue(store, store.job(runs[1].job.id))
    start(runs[1].job.id).run()
    first, second = (digests(checkpoints, run.job.id) for run in runs)
    assert len(first) == 3
    assert first == second


def test_version_of_a_checkpoint_is_not_taken_for_the_version_of_its_job(
    start, store, registry, checkpoints, monkeypatch
):
    run = start(epochs=2, keep_checkpoints=True, promote="never")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_batch(patch, 30)
        run.run()
    card, _ = store_as_version(registry, checkpoints, run.job.id, 0)
    job.requeue(store, store.job(run.job.id))
    start(run.job.id).run()
    assert store.job(run.job.id).result["version"] == card.version + 1


def test_a_job_keeps_no_checkpoints_unless_it_is_asked(start, checkpoints):
    run = start(epochs=1)
    run.run()
    assert checkpoints.sizes(run.job.id) == {}


def test_oldest_checkpoints_of_all_jobs_make_room(tmp_path, weights, card):
    checkpoints = Checkpoints(tmp_path, 3)
    for time, (job_id, epoch) in enumerate([(JOBS[0], 0), (JOBS[0], 1), (JOBS[1], 0)]):
        checkpoints.write(job_id, epoch, weights, card)
        os.utime(tmp_path / job_id / f"{epoch}.safetensors", (time, time))
    checkpoints.write(JOBS[1], 1, weights, card)
    assert (list(checkpoints.sizes(JOBS[0])), list(checkpoints.sizes(JOBS[1]))) == ([1], [0, 1])


def test_missing_and_damaged_checkpoints_are_refused(tmp_path, registry, weights, card):
    checkpoints = Checkpoints(tmp_path, 9)
    checkpoints.write(JOBS[0], 4, weights, card)
    for job_id, epoch in ((JOBS[0], 5), (JOBS[1], 4), ("../" + JOBS[0], 4), ("*", 4)):
        for read in (checkpoints.read, checkpoints.content):
            with pytest.raises(NotFound, match=f"has no checkpoint of epoch {epoch}"):
                read(job_id, epoch)
    with pytest.raises(NotFound, match="epochs with a checkpoint are: 4"):
        store_as_version(registry, checkpoints, JOBS[0], 5)
    (tmp_path / JOBS[0] / "4.safetensors").write_bytes(b"damaged")
    with pytest.raises(Conflict, match="checkpoint of epoch 4 is damaged"):
        store_as_version(registry, checkpoints, JOBS[0], 4)
    with pytest.raises(Conflict, match="checkpoint of epoch 4 is damaged"):
        checkpoints.content(JOBS[0], 4)
    assert registry.versions() == [1]


def test_checkpoints_are_deleted_with_their_job(store, checkpoints, start):
    run, other = (start(epochs=1, keep_checkpoints=True) for _ in range(2))
    run.run()
    other.run()
    deletion.delete_job(SweepStore(store.database), checkpoints, run.job.id)
    assert not (checkpoints.folder / run.job.id).exists()
    assert list(checkpoints.sizes(other.job.id)) == [0]


def test_clean_up_deletes_what_belongs_to_no_job_or_recorded_epoch(tmp_path, weights, card):
    checkpoints = Checkpoints(tmp_path / "of jobs", 9)
    for job_id in JOBS:
        checkpoints.write(job_id, 0, weights, card)
    temporary = checkpoints.folder / JOBS[0] / ".1.safetensors.abcd.tmp"
    temporary.touch()
    checkpoints.write(JOBS[0], 1, weights, card)  # its attempt ended before it recorded the epoch
    checkpoints.clean_up({JOBS[0]: [0]}.get, writers=True)
    assert temporary.exists()
    assert [*checkpoints.sizes(JOBS[0])] == [0, 1]
    checkpoints.clean_up({JOBS[0]: [0]}.get, writers=False)
    assert [path.name for path in checkpoints.folder.iterdir()] == [JOBS[0]]
    assert [path.name for path in temporary.parent.iterdir()] == ["0.safetensors"]
