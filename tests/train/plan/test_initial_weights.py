"""Trainings that begin with the weights of a version or of a checkpoint."""

import pytest
import torch

from app.errors import InvalidField
from app.net import SHAPES
from app.torch_net import MyNet, weights_of
from app.train.jobs import job
from app.train.jobs.fenced_writer import Superseded
from app.train.jobs.hyperparameters import Hyperparameters, Init
from app.train.plan import initial_weights
from app.train.recipes import dataset, drawn_images, loop, recipes
from app.train.worker import state
from app.versions import checkpoint
from app.versions.card import CheckpointName
from tests.train.worker.test_resume import interrupt_batch, resume_job

CPU = torch.device("cpu")


def card_of(store, registry, run):
    return registry.card(store.job(run.job.id).result["version"])


def test_training_begins_with_the_weights_of_a_version(start, store, registry):
    run = start(epochs=1, init={"version": 1})
    run.run()
    card = card_of(store, registry, run)
    assert (card.parent, card.parent_checkpoint) == (1, None)
    torch.manual_seed(11)
    setup = recipes.RECIPES["documented"](Hyperparameters(), dataset.load(None).train, CPU)
    setup.begin_with(registry.weights(1))
    for _ in loop.fit(setup.model, setup.optimizer, setup.batches, epochs=range(1), device=CPU):
        pass
    assert card.weights_digest == checkpoint.digest(weights_of(setup.net))


def test_training_begins_with_a_checkpoint_and_says_so(start, store, registry):
    first = start(epochs=2, keep_checkpoints=True, promote="never")
    first.run()
    run = start(epochs=1, init={"job": first.job.id, "epoch": 0}, promote="never")
    run.run()
    card = card_of(store, registry, run)
    assert (card.parent, card.parent_checkpoint) == (
        None,
        CheckpointName(job=first.job.id, epoch=0),
    )


def test_version_that_is_deleted_after_the_submission_does_not_matter(
    start, store, registry, checkpoints
):
    version = registry.save(weights_of(MyNet()), registry.card(1))
    first = start(epochs=1, init={"version": version}, promote="never")
    second = job.create(
        store,
        first.attempt.hyperparameters,
        max_queued=9,
        key=None,
        read_init=lambda init: initial_weights.read(init, registry, checkpoints),
    )
    registry.delete(version)
    digests = []
    for run in (first, start(second.id)):
        run.run()
        digests.append(card_of(store, registry, run).weights_digest)
    assert digests[0] == digests[1]
    with pytest.raises(InvalidField, match=f"init: Version {version} does not exist"):
        start(init={"version": version})


@pytest.mark.parametrize("number", [1, 30])
def test_interrupted_training_with_initial_weights_ends_with_the_same_weights(
    start, store, registry, uninterrupted, monkeypatch, number
):
    hyperparameters = {"epochs": 2, "init": {"version": 1}}
    reference = uninterrupted(**hyperparameters)
    run = start(**hyperparameters)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_batch(patch, number)
        run.run()
    card = resume_job(start, store, registry, run.job.id)
    assert card.weights_digest == reference.card.weights_digest
    assert card.parent == 1


def test_damaged_state_starts_again_with_the_initial_weights(start, store, registry, uninterrupted):
    reference = uninterrupted(epochs=2, init={"version": 1})
    run = start(epochs=2, init={"version": 1})
    state.write(run.attempt.files.state, b"damaged")
    run.run()
    assert card_of(store, registry, run).weights_digest == reference.card.weights_digest


def test_initial_weights_are_deleted_when_their_job_has_ended(start, store):
    run = start(epochs=1, init={"version": 1})
    store.delete_initial_weights()
    assert store.initial_weights(run.job.id), "a running job may have to start again"
    job.cancel(store, run.job.id)
    store.delete_initial_weights()
    assert store.initial_weights(run.job.id) is None
    with pytest.raises(Superseded):
        run.attempt.initial_weights()


def test_retry_of_a_submission_needs_no_version(store, registry, checkpoints):
    def read_init(init):
        return initial_weights.read(init, registry, checkpoints)

    def submit(version):
        hyperparameters = Hyperparameters(init=Init(version=version), seed=1)
        return job.create(store, hyperparameters, max_queued=9, key="a", read_init=read_init).id

    version = registry.save(registry.weights(1), registry.card(1))
    first = submit(version)
    registry.delete(version)
    assert submit(version) == first


def test_average_of_the_robust_recipe_begins_with_the_same_weights(few_digits, registry):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SYNTHETIC_DIGITS", "ALLOGRAPHS", "NEGATIVES"):
            patch.setattr(drawn_images, name, 5)
        hyperparameters = Hyperparameters(recipe="robust", seed=1)
        setup = recipes.RECIPES["robust"](hyperparameters, few_digits.subset(torch.arange(50)), CPU)
    setup.begin_with(registry.weights(1))
    expected = checkpoint.digest(registry.weights(1))
    assert checkpoint.digest(weights_of(setup.net)) == expected
    assert checkpoint.digest(weights_of(setup.model.net)) == expected
    assert setup.model.net is not setup.net
    assert set(setup.net.state_dict()) == set(SHAPES)
