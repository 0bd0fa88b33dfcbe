"""One attempt at one job: what it tells, stores and promotes, and what it may not."""

import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from app.database.sweeps import SweepStore
from app.train.evaluation import promotion
from app.train.jobs import deletion, job
from app.train.jobs.fenced_writer import FencedWriter, Superseded
from app.train.recipes.drawn_images import Drawing
from app.train.recipes.loop import Step
from app.train.worker import finish, state, trainer
from app.train.worker.attempt import Diverged, Stopped
from app.train.worker.state import Position
from tests.train.conftest import events


def test_a_job_becomes_a_version_with_a_card(start, store, registry, mnist):
    attempt = start(note="mine", promote="always")
    attempt.run()
    done = store.job(attempt.job.id)
    card = registry.card(done.result["version"])
    assert (done.status, done.result["promoted"]) == ("succeeded", True)
    assert registry.current() == card.version
    assert (card.job, card.parent, card.note) == (done.id, 1, "mine")
    assert (card.hyperparameters, card.data_digest) == (done.hyperparameters, mnist.digest)
    assert [epoch.epoch for epoch in card.epochs] == [0, 1, 2]
    assert card.test_accuracy == card.epochs[-1].test_accuracy == done.result["test_accuracy"]
    assert done.progress["fraction"] == 1.0


@pytest.mark.usefixtures("all_shipped")
def test_first_training_of_a_fresh_service_is_no_failure(start, store, registry):
    attempt = start(epochs=1)
    attempt.run()
    ended = store.job(attempt.job.id)
    assert (ended.status, ended.result["promoted"], registry.current()) == ("succeeded", False, 2)
    assert "no failure: the tutorial's recipe is for learning" in ended.result["explanation"]
    (action,) = ended.result["next"]
    assert (action["path"], action["body"]) == ("/models/current", {"version": 3})


def test_a_version_keeps_its_lineage_after_its_job_is_deleted(start, store, registry, checkpoints):
    attempt = start(promote="never")
    attempt.run()
    version = store.job(attempt.job.id).result["version"]
    before = registry.card(version)
    deletion.delete_job(SweepStore(store.database), checkpoints, attempt.job.id)
    card = registry.card(version)
    assert card == before
    assert (card.job, card.hyperparameters["seed"]) == (attempt.job.id, 11)
    assert len(card.epochs) == 3


def test_it_tells_every_hundred_batches_and_at_the_end(start, store):
    attempt = start(epochs=1, batch_size=8)
    attempt.run()
    batches = events(store, attempt.job.id, "batch")
    assert [event["batch"] for event in batches] == [100, 200, 250]
    assert all(event["loss"] > 0 for event in batches)


def test_a_version_that_was_stored_before_a_death_is_not_stored_twice(
    start, store, registry, monkeypatch
):
    interrupted_run = start(promote="always")
    with monkeypatch.context() as patch:
        patch.setattr(FencedWriter, "succeed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            interrupted_run.run()
    versions = registry.versions()
    job.requeue(store, store.job(interrupted_run.job.id))
    start(interrupted_run.job.id).run()
    assert registry.versions() == versions
    result = store.job(interrupted_run.job.id).result
    assert (result["version"], registry.current()) == (versions[-1], versions[-1])
    assert "of version 1" in result["reason"]


@pytest.mark.parametrize("step", ["evaluate", "decide"])
def test_an_older_attempt_stores_and_promotes_nothing(start, store, registry, monkeypatch, step):
    older = start(promote="always")
    module = {"evaluate": finish.evaluate, "decide": promotion}[step]
    real = getattr(module, step)

    def start_newer_attempt(*args):
        job.requeue(store, store.job(older.job.id))
        job.start(store, store.job(older.job.id))
        return real(*args)

    monkeypatch.setattr(module, step, start_newer_attempt)
    with pytest.raises(Superseded):
        older.run()
    assert registry.current() == 1
    assert len(registry.versions()) == (1 if step == "evaluate" else 2)


def test_two_attempts_at_one_job_never_work_at_once(tmp_path):
    order = []

    def second():
        with state.job_lock(tmp_path, "a"):
            order.append("second")

    with state.job_lock(tmp_path, "a"), state.job_lock(tmp_path, "b"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(120)
    assert order == ["first", "second"]


def test_a_cancelled_job_stops_and_leaves_no_version(start, store, registry):
    attempt = start()
    job.cancel(store, attempt.job.id)
    versions_before = registry.versions()
    with pytest.raises(Superseded):
        attempt.run()
    assert registry.versions() == versions_before
    assert store.job(attempt.job.id).status == "cancelled"


def test_answers_that_are_no_numbers_fail_and_leave_no_version(start, registry, store):
    attempt = start(epochs=1, batch_size=60_000, learning_rate=1e12, seed=0, promote="always")
    with pytest.raises(Diverged):
        attempt.run()
    assert registry.versions() == [1]
    assert events(store, attempt.job.id, "epoch") == []


def test_a_loss_that_is_no_number_fails_with_advice(start, registry):
    attempt = start(learning_rate=1e30)
    versions_before = registry.versions()
    with pytest.raises(Diverged, match="learning_rate below 1e\\+30"):
        attempt.run()
    assert registry.versions() == versions_before


@pytest.fixture
def clock(monkeypatch):
    """Return the clock of a training of two epochs with ten batches, which began 100 s ago.

    It has drawn 30 of 40 pictures in 60 s.
    """
    monkeypatch.setattr(trainer.time, "monotonic", lambda: 0.0)
    drawing = Drawing(total=40)
    clock = trainer.Clock(Position(), 10, 2, drawing)
    drawing.drawn, drawing.seconds = 30, 60.0
    monkeypatch.setattr(trainer.time, "monotonic", lambda: 100.0)
    return clock


def test_time_of_an_epoch_is_without_drawing(clock):
    assert clock.since_lap() == clock.lap() == 40.0
    assert clock.since_lap() == 0.0
    assert clock.since_save() == 100.0, "a save is due after so much time, whatever was done"


@pytest.mark.parametrize(("epoch", "batch", "eta"), [(0, 10, 40 + 20), (1, 5, 5 * 8 / 3 + 10)])
def test_remaining_time_includes_the_drawing_that_is_left(clock, epoch, batch, eta):
    progress = clock.progress(Step(epoch, batch, 10, torch.tensor(0.0)))
    assert progress["eta"] == pytest.approx(eta)


def test_remaining_time_at_the_end_is_nothing(clock):
    assert clock.progress(Step(1, 10, 10, torch.tensor(0.0)))["eta"] == 0


@pytest.mark.parametrize("group", [None, object()])
def test_stop_while_pictures_are_drawn_waits_for_the_step_only_in_a_group(group):
    """In the middle of a step, the other ranks of a group wait for a gradient, not for a word."""
    stop, beats = threading.Event(), []
    stop.set()
    rank_zero = SimpleNamespace(
        attempt=SimpleNamespace(heartbeat=SimpleNamespace(beat=lambda: beats.append(1))),
        group=group,
        stop=stop,
    )
    with nullcontext() if group else pytest.raises(Stopped):
        trainer.Trainer._on_drawn(rank_zero, Drawing())
    assert beats
