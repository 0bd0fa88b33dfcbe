"""The written-out loop against the readable one, bit for bit."""

import pytest
import torch

from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes import loop, manual_loop, recipes
from app.train.recipes.dataset import Digits
from app.train.worker import state
from app.train.worker.state import Position
from tests.train.worker.test_resume import interrupt_batch, resume_job

CPU = torch.device("cpu")
IMAGES = 430


@pytest.fixture
def digits(few_digits):
    return Digits(few_digits.pixels[:IMAGES], few_digits.labels[:IMAGES])


def set_up(digits, seed=5, **hyperparameters):
    torch.manual_seed(seed)
    complete = Hyperparameters(**hyperparameters)
    return recipes.RECIPES[complete.recipe](complete, digits, CPU)


def train(fit, setup, epochs, done=0, batches=None):
    """Train, to the end or for some batches; return the losses."""
    steps = fit(setup.model, setup.optimizer, setup.batches, epochs=epochs, device=CPU, done=done)
    return [step.loss for step, _ in zip(steps, range(batches or 10**6), strict=False)]


def bits(setup, losses):
    """Return the bits of the losses, the parameters and the optimiser, as whole numbers."""
    states = setup.optimizer.state_dict()["state"].values()
    optimizer_state = [value for state in states for value in state.values()]
    tensors = [torch.stack(losses), *setup.model.state_dict().values(), *optimizer_state]
    assert len(tensors) >= 1 + 8 + 8
    return [tensor.detach().contiguous().view(torch.int32).tolist() for tensor in tensors]


@pytest.mark.parametrize(
    ("seed", "hyperparameters"),
    [
        (1, {}),
        (2, {"batch_size": 43}),
        (3, {"batch_size": 429}),  # one image is left for the last batch
        (4, {"batch_size": 1000}),  # one batch, which is not full
        (5, {"batch_size": 7, "learning_rate": 0.3}),
        (6, {"batch_size": 64, "learning_rate": 1e-5, "momentum": 0.5}),
        (7, {"batch_size": 100, "learning_rate": 2.0, "momentum": 0.99}),
        (8, {"recipe": "quick", "epochs": 3}),
        (9, {"recipe": "quick", "epochs": 3, "batch_size": 43, "momentum": 0.0}),
    ],
)
def test_every_bit_is_that_of_the_readable_loop(digits, seed, hyperparameters):
    trained = []
    for fit in (loop.fit, manual_loop.fit):
        setup = set_up(digits, seed, **hyperparameters)
        trained.append(bits(setup, train(fit, setup, range(3))))
    assert trained[0] == trained[1]


@pytest.mark.parametrize("recipe", ["documented", "quick"])
@pytest.mark.parametrize("first", [loop.fit, manual_loop.fit])
@pytest.mark.parametrize("batches", [1, 5, 8])
def test_either_loop_goes_on_where_the_other_was_stopped(digits, tmp_path, first, batches, recipe):
    """A saved state is the same, so a job may go on with the code of another release."""
    second = loop.fit if first is manual_loop.fit else manual_loop.fit
    hyperparameters = {"recipe": recipe, "batch_size": 100, "epochs": 2}
    whole = set_up(digits, **hyperparameters)
    expected = bits(whole, train(loop.fit, whole, range(2)))

    stopped, path = set_up(digits, **hyperparameters), tmp_path / "job.pt"
    per_epoch = len(stopped.batches)
    random = [torch.get_rng_state()]
    steps = first(stopped.model, stopped.optimizer, stopped.batches, epochs=range(2), device=CPU)
    losses = []
    for step in steps:
        losses.append(step.loss)
        if step.ends_epoch:
            random.append(torch.get_rng_state())
        if len(losses) == batches:
            break
    epoch, done = divmod(batches, per_epoch)
    position = Position(epoch, random[epoch], losses[epoch * per_epoch :])
    state.save(path, stopped.model, stopped.optimizer, position)

    resumed = set_up(digits, seed=99, **hyperparameters)
    position = state.restore(path, resumed.model, resumed.optimizer)
    assert position.batches_done == done
    losses += train(second, resumed, range(epoch, 2), done)
    assert bits(resumed, losses) == expected


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_without_momentum_the_readable_loop_is_used(digits, momentum):
    setup = set_up(digits, momentum=momentum)
    assert setup.fit is (manual_loop.fit if momentum else loop.fit)


def test_a_job_that_was_killed_ends_with_the_weights_of_the_readable_loop(
    start, store, registry, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(manual_loop, "supports", lambda *_: False)
        readable_run = start(epochs=2, batch_size=90)
        assert readable_run.run() is None
    expected = registry.card(store.job(readable_run.job.id).result["version"])
    killed_run = start(epochs=2, batch_size=90)
    with monkeypatch.context() as patch:
        interrupt_batch(patch, 30)  # of 23 in each epoch, the last with 20 images
        with pytest.raises(KeyboardInterrupt):
            killed_run.run()
    resumed = resume_job(start, store, registry, killed_run.job.id)
    assert resumed.weights_digest == expected.weights_digest
    assert [e.train_loss for e in resumed.epochs] == [e.train_loss for e in expected.epochs]
