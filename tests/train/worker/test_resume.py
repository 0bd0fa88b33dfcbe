"""Exact resume: wherever an attempt ends, the next goes on from there to the very same weights."""

import pytest
import torch

from app.train.jobs import job
from app.train.jobs.fenced_writer import FencedWriter, Superseded
from app.train.recipes import manual_loop
from app.train.worker import trainer
from app.train.worker.attempt import Stopped
from tests.train.conftest import events

# Epochs of 200 batches; every hundredth is recorded.
LONG_EPOCHS = {"batch_size": 10}


def interrupt_after(monkeypatch, function, calls):
    """'Kill' the process right after a step has been done some times."""
    real, done = getattr(FencedWriter, function), []

    def dying(*args, **kwargs):
        real(*args, **kwargs)
        done.append(1)
        if len(done) == calls:
            raise KeyboardInterrupt

    monkeypatch.setattr(FencedWriter, function, dying)


def resume_job(start, store, registry, job_id):
    """Resume the job as another process, in whatever random state; return the version's card."""
    job.requeue(store, store.job(job_id))
    torch.manual_seed(999)
    start(job_id).run()
    return registry.card(store.job(job_id).result["version"])


@pytest.mark.parametrize(
    ("function", "calls"),
    [("reset_failures", 1), ("reset_failures", 2), ("record", 4), ("begin_commit", 1)],
)
def test_an_interrupted_job_ends_with_the_very_same_weights(
    start, store, registry, uninterrupted, monkeypatch, function, calls
):
    reference = uninterrupted(**LONG_EPOCHS)
    interrupted_run = start(**LONG_EPOCHS)
    with monkeypatch.context() as patch:
        interrupt_after(patch, function, calls)
        with pytest.raises(KeyboardInterrupt):
            interrupted_run.run()
    result = resume_job(start, store, registry, interrupted_run.job.id)
    assert result.weights_digest == reference.card.weights_digest
    losses = [[e.train_loss for e in card.epochs] for card in (result, reference.card)]
    assert losses[0] == losses[1]
    assert events(store, interrupted_run.job.id, "batch") == reference.batches


def record_fit_calls(monkeypatch):
    """Watch where the loop begins: the epochs, and the batches done of the first."""
    fit_calls, real = [], manual_loop.fit

    def fit(*args, **kw):
        fit_calls.append((kw["epochs"], kw["done"]))
        return real(*args, **kw)

    monkeypatch.setattr(manual_loop, "fit", fit)
    return fit_calls


def interrupt_batch(monkeypatch, number):
    """Save the state after that batch, counted over all epochs, and 'die' at once."""
    real = trainer.Trainer._on_step

    def dying(self, step):
        last = step.epoch * step.batches + step.batch == number
        monkeypatch.setattr(trainer, "SAVE_INTERVAL", -1.0 if last else 1e9)
        real(self, step)
        if last:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer.Trainer, "_on_step", dying)


@pytest.mark.parametrize("number", [1, 57, 199, 200, 201, 350])
def test_it_goes_on_in_the_middle_of_an_epoch(
    start, store, registry, uninterrupted, monkeypatch, number
):
    reference = uninterrupted(epochs=2, **LONG_EPOCHS)
    interrupted_run = start(epochs=2, **LONG_EPOCHS)
    with monkeypatch.context() as patch:
        interrupt_batch(patch, number)
        with pytest.raises(KeyboardInterrupt):
            interrupted_run.run()
    job.requeue(store, store.job(interrupted_run.job.id))
    torch.manual_seed(999)
    fit_calls = record_fit_calls(monkeypatch)
    start(interrupted_run.job.id).run()
    assert fit_calls == [(range(number // 200, 2), number % 200)]
    result = registry.card(store.job(interrupted_run.job.id).result["version"])
    assert result.weights_digest == reference.card.weights_digest
    assert [e.train_loss for e in result.epochs] == [e.train_loss for e in reference.card.epochs]
    assert events(store, interrupted_run.job.id, "batch") == reference.batches


@pytest.mark.parametrize(
    ("epoch", "batch", "from_epoch", "from_batch"),
    [(0, 30, 0, 100), (0, 200, 0, 0), (1, 30, 1, 100), (1, 100, 1, 100), (1, 200, 1, 0)],
)
def test_a_paused_job_ends_with_the_very_same_weights(
    start, store, registry, uninterrupted, monkeypatch, epoch, batch, from_epoch, from_batch
):
    reference = uninterrupted(epochs=2, **LONG_EPOCHS)
    paused_run = start(epochs=2, **LONG_EPOCHS)
    real = trainer.Trainer._on_step

    def pausing(self, step):
        if (step.epoch, step.batch) == (epoch, batch):
            job.pause(store, paused_run.job.id)
        real(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_on_step", pausing)
        with pytest.raises(Superseded):
            paused_run.run()
    job.resume(store, paused_run.job.id)
    fit_calls = record_fit_calls(monkeypatch)
    start(paused_run.job.id).run()
    assert fit_calls == [(range(from_epoch, 2), from_batch)]
    result = registry.card(store.job(paused_run.job.id).result["version"])
    assert result.weights_digest == reference.card.weights_digest
    assert events(store, paused_run.job.id, "batch") == reference.batches
    epochs = events(store, paused_run.job.id, "epoch"), reference.epochs
    comparable = [[{**fields, "seconds": None} for fields in run] for run in epochs]
    assert comparable[0] == comparable[1]


def test_a_stopped_attempt_saves_its_state_first(start, store, monkeypatch):
    stopped_run, real = start(epochs=1, **LONG_EPOCHS), trainer.Trainer._on_step

    def stopping(self, step):
        if step.batch == 33:
            stopped_run.stop.set()
        real(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_on_step", stopping)
        with pytest.raises(Stopped):
            stopped_run.run()
    job.requeue(store, store.job(stopped_run.job.id))
    fit_calls = record_fit_calls(monkeypatch)
    start(stopped_run.job.id).run()
    assert fit_calls == [(range(1), 33)]


def test_a_damaged_saved_state_starts_the_job_again(start, store, registry, uninterrupted, caplog):
    reference = uninterrupted(epochs=1)
    damaged_run = start(epochs=1)
    damaged_run.attempt.files.state.parent.mkdir(parents=True, exist_ok=True)
    damaged_run.attempt.files.state.write_bytes(b"damaged")
    damaged_run.run()
    result = registry.card(store.job(damaged_run.job.id).result["version"])
    assert result.weights_digest == reference.card.weights_digest
    assert "restarts from its seed" in caplog.text


def test_what_was_done_is_not_done_again(start, store, monkeypatch):
    interrupted_run = start()
    with monkeypatch.context() as patch:
        interrupt_after(patch, "reset_failures", 2)
        with pytest.raises(KeyboardInterrupt):
            interrupted_run.run()
    job.requeue(store, store.job(interrupted_run.job.id))
    fit_calls = record_fit_calls(monkeypatch)
    start(interrupted_run.job.id).run()
    assert fit_calls == [(range(2, 3), 0)]
