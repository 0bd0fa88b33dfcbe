"""Ends before the last epoch, by the validation loss or by a time limit, also through kills."""

from types import SimpleNamespace

import pytest
import torch

from app.torch_net import net_with, weights_of
from app.train.evaluation import evaluate
from app.train.jobs import events as job_events
from app.train.jobs import job
from app.train.recipes import dataset, loop, manual_loop
from app.train.worker import state, trainer
from app.train.worker.early_end import BestEpoch
from app.train.worker.state import Position
from app.versions import checkpoint
from tests.train.conftest import events
from tests.train.worker.test_resume import interrupt_after, interrupt_batch, resume_job

CPU = torch.device("cpu")
HELD_OUT = {"validation_fraction": 0.2}
# It learns these few images by heart within some epochs, and the validation loss rises.
STOPPING = {
    "epochs": 40,
    "learning_rate": 0.1,
    "early_stopping": {"patience": 2},
    **HELD_OUT,
}


def test_validation_images_are_drawn_from_the_training_images_by_the_seed(mnist):
    random = torch.get_rng_state()
    held_out = mnist.hold_out(0.1, 7)
    assert torch.equal(torch.get_rng_state(), random)
    assert (len(held_out.train), len(held_out.validation)) == (54_000, 6_000)
    assert held_out.test is mnist.test
    assert mnist.hold_out(0, 7) is mnist
    both = torch.cat([held_out.train.pixels, held_out.validation.pixels]).flatten(1).sum(1)
    assert torch.equal(both.sort().values, mnist.train.pixels.flatten(1).sum(1).sort().values)
    again, other = mnist.hold_out(0.1, 7), mnist.hold_out(0.1, 8)
    assert torch.equal(held_out.validation.labels, again.validation.labels)
    assert not torch.equal(held_out.validation.labels, other.validation.labels)


def test_validation_is_in_epochs_events_and_log_lines(start, store, registry):
    attempt = start(epochs=1, **HELD_OUT)
    attempt.run()
    ended = store.job(attempt.job.id)
    card = registry.card(ended.result["version"])
    (epoch,) = events(store, attempt.job.id, "epoch")
    assert [epoch] == ended.epochs == [record.model_dump() for record in card.epochs]
    held_out = dataset.load(None).hold_out(0.2, 11).validation
    score = evaluate.score(net_with(registry.weights(card.version)), held_out, CPU)
    assert (epoch["validation_loss"], epoch["validation_accuracy"]) == score
    last = [*job_events.read_log(store, attempt.job.id)][-1]
    loss, accuracy = epoch["validation_loss"], epoch["validation_accuracy"]
    assert last == f"==>>> epoch: 0, validation loss: {loss}, acc: {accuracy}\n"


def test_without_validation_nothing_is_added_to_the_log(start, store):
    attempt = start(epochs=1)
    attempt.run()
    (epoch,) = events(store, attempt.job.id, "epoch")
    assert epoch["validation_loss"] is epoch["validation_accuracy"] is None
    assert "validation" not in "".join(job_events.read_log(store, attempt.job.id))


def test_early_stopping_ends_with_the_best_epochs_weights(start, store, registry):
    attempt = start(**STOPPING)
    attempt.run()
    ended = store.job(attempt.job.id)
    losses = [epoch["validation_loss"] for epoch in ended.epochs]
    best = losses.index(min(losses))
    assert (ended.status, ended.result["stopped_by"]) == ("succeeded", "early_stopping")
    assert (ended.result["best_epoch"], len(losses)) == (best, best + 1 + 2)
    assert f"lowest in epoch {best}. Version " in ended.result["explanation"]
    assert (ended.progress["fraction"], ended.progress["eta"]) == (1.0, 0.0)
    shorter = start(**{**STOPPING, "epochs": best + 1, "early_stopping": None})
    shorter.run()
    digests = [
        registry.card(store.job(run.job.id).result["version"]).weights_digest
        for run in (attempt, shorter)
    ]
    assert digests[0] == digests[1]


def test_min_delta_ends_sooner(start, store):
    attempt = start(**{**STOPPING, "early_stopping": {"patience": 2, "min_delta": 1000.0}})
    attempt.run()
    assert len(store.job(attempt.job.id).epochs) == 3
    assert store.job(attempt.job.id).result["best_epoch"] == 0


@pytest.mark.parametrize(
    ("function", "calls"),
    [("reset_failures", 1), ("reset_failures", 5), ("record", 9), ("begin_commit", 1)],
)
def test_interrupted_early_stopping_ends_with_the_same_weights(
    start, store, registry, uninterrupted, monkeypatch, function, calls
):
    hyperparameters = {**STOPPING, "epochs": 12}
    reference = uninterrupted(**hyperparameters)
    interrupted_run = start(**hyperparameters)
    with monkeypatch.context() as patch:
        interrupt_after(patch, function, calls)
        with pytest.raises(KeyboardInterrupt):
            interrupted_run.run()
    result = resume_job(start, store, registry, interrupted_run.job.id)
    assert result.weights_digest == reference.card.weights_digest
    comparable = [
        [{**epoch.model_dump(), "seconds": 0} for epoch in card.epochs]
        for card in (result, reference.card)
    ]
    assert comparable[0] == comparable[1]


@pytest.fixture
def second_per_batch(monkeypatch):
    """Make each batch take one second of the trainer's clock, and everything else none."""
    clock, real = SimpleNamespace(now=0.0), manual_loop.fit

    def fit(*args, **kwargs):
        for step in real(*args, **kwargs):
            clock.now += 1.0
            yield step

    monkeypatch.setattr(manual_loop, "fit", fit)
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: clock.now))


@pytest.mark.usefixtures("second_per_batch")
@pytest.mark.parametrize(("limit", "epochs"), [(1.0, 0), (20.0, 1), (30.0, 1)])
def test_time_limit_ends_with_what_the_training_has(start, store, registry, limit, epochs):
    attempt = start(max_seconds=limit)
    attempt.run()
    ended = store.job(attempt.job.id)
    assert (ended.status, ended.result["stopped_by"]) == ("succeeded", "max_seconds")
    assert (len(ended.epochs), ended.progress["fraction"] if ended.progress else 1) == (epochs, 1)
    assert f"limit of {limit:g} s, after {epochs} epochs" in ended.result["explanation"]
    setup, _ = state.resume(
        attempt.attempt.hyperparameters,
        dataset.load(None),
        CPU,
        state.FileCheckpointer(attempt.attempt.files.state.with_suffix(".none")),
    )
    steps = loop.fit(setup.model, setup.optimizer, setup.batches, epochs=range(3), device=CPU)
    for _ in zip(range(int(limit)), steps, strict=False):
        pass
    expected = checkpoint.digest(weights_of(setup.net))
    assert registry.card(ended.result["version"]).weights_digest == expected


@pytest.mark.usefixtures("second_per_batch")
@pytest.mark.parametrize("number", [7, 20, 25, 29])
def test_time_limit_counts_over_resumes(start, store, registry, monkeypatch, number):
    digests = []
    for interrupted_at in (None, number):
        run = start(max_seconds=30.0)
        if interrupted_at:
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                interrupt_batch(patch, interrupted_at)
                run.run()
            digests.append(resume_job(start, store, registry, run.job.id).weights_digest)
        else:
            run.run()
            version = store.job(run.job.id).result["version"]
            digests.append(registry.card(version).weights_digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize(("function", "calls"), [("reset_failures", 1), ("begin_commit", 1)])
def test_job_that_ended_by_its_limit_does_not_train_on(
    start, store, registry, monkeypatch, function, calls
):
    run = start(max_seconds=1e-9)
    with monkeypatch.context() as patch:
        interrupt_after(patch, function, calls)
        with pytest.raises(KeyboardInterrupt):
            run.run()
    resume_job(start, store, registry, run.job.id)
    ended = store.job(run.job.id)
    assert (ended.result["stopped_by"], ended.epochs) == ("max_seconds", [])


def test_what_a_log_has_shown_is_not_taken_back(start, store, registry, monkeypatch):
    """A slower resumed attempt trains up to the last line that an earlier one recorded."""
    run = start(batch_size=10, epochs=1, max_seconds=100.0)
    with monkeypatch.context() as patch:
        interrupt_after(patch, "record", 1)
        with pytest.raises(KeyboardInterrupt):
            run.run()
    trained, on_step = [], trainer.Trainer._on_step

    def recording_step(self, step):
        trained.append(step.batch)
        on_step(self, step)

    monkeypatch.setattr(trainer.Trainer, "_on_step", recording_step)
    monkeypatch.setattr(trainer.Clock, "since_lap", lambda _: 1000.0)
    resume_job(start, store, registry, run.job.id)
    assert trained[-1] == 100, "the line is of weights that the job does not end with"
    batches = events(store, run.job.id, "batch")
    assert [batch["batch"] for batch in batches] == [100]
    saved = store.job(run.job.id)
    assert (saved.result["stopped_by"], saved.progress["batch"]) == ("max_seconds", 100)


def test_best_epoch_survives_in_the_saved_state(tmp_path):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters())
    best = BestEpoch.of(3, 0.25, model)
    position = Position(5, best=best, is_out_of_time=True)
    state.save(tmp_path / "job.pt", model, optimizer, position)
    restored = state.restore(tmp_path / "job.pt", model, optimizer)
    assert (restored.best.epoch, restored.best.loss, restored.is_out_of_time) == (3, 0.25, True)
    assert all(
        torch.equal(restored.best.weights[name], best.weights[name]) for name in best.weights
    )
    assert restored.next_epoch().best is restored.best


def test_state_of_an_older_release_is_restored(tmp_path):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters())
    state.save(tmp_path / "job.pt", model, optimizer, Position(5))
    saved = torch.load(tmp_path / "job.pt", weights_only=True)
    for name in ("best", "is_out_of_time"):
        del saved["position"][name]
    torch.save(saved, tmp_path / "job.pt")
    restored = state.restore(tmp_path / "job.pt", model, optimizer)
    assert (restored.epoch, restored.best, restored.is_out_of_time) == (5, None, False)


def test_job_is_paused_and_resumed_at_its_limit(start, store, monkeypatch):
    run, real = start(max_seconds=1e-9), trainer.Trainer._save_checkpoint

    def pause_first(self):
        job.pause(store, run.job.id)
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_save_checkpoint", pause_first)
        with pytest.raises(trainer.Superseded):
            run.run()
    job.resume(store, run.job.id)
    start(run.job.id).run()
    assert store.job(run.job.id).result["stopped_by"] == "max_seconds"
