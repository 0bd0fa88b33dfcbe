"""Training with data sets: what a job trains and is tested with, fixed when it first starts."""

import pytest
import torch
from sqlalchemy import delete

from app.database import tables
from app.datasets import content
from app.datasets.catalogue import open_datasets
from app.datasets.content import digest
from app.errors import InvalidField
from app.feedback import FeedbackStore
from app.mnist.dataset import DatasetUnavailable
from app.mnist.files import LabelledImages
from app.torch_net import net_with
from app.train.evaluation.evaluate import correct_mask
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.named_datasets import with_ids
from app.train.jobs.sweep_grid import Grid
from app.train.recipes.dataset import Digits
from tests.train.worker.test_resume import interrupt_batch, resume_job


@pytest.fixture
def datasets(settings, database):
    return open_datasets(settings, database)


def part_of(mnist, first, count):
    part = slice(first, first + count)
    return LabelledImages(
        mnist.train.pixels[part].numpy(), mnist.train.labels[part].numpy().astype("uint8")
    )


@pytest.fixture
def mine(datasets, mnist):
    return datasets.add("mine", part_of(mnist, 30_000, 600))[0]


@pytest.fixture
def held_out(datasets, mnist):
    return datasets.add("held-out", part_of(mnist, 40_000, 300))[0]


@pytest.fixture
def train(start, store, registry):
    def train(**hyperparameters):
        run = start(**{"epochs": 1, "promote": "never", **hyperparameters})
        run.run()
        return registry.card(store.job(run.job.id).result["version"])

    return train


def test_a_job_trains_with_its_data_sets_and_is_tested_on_another(
    train, store, mine, held_out, mnist
):
    plain = train()
    card = train(datasets=[mine.id], test_dataset=held_out.id)
    assert [source.model_dump() for source in card.data.train] == [
        {"id": mine.id, "name": "mine", "digest": mine.digest, "images": 600, "non_digits": 0}
    ]
    assert (card.data.test.id, card.data.test.digest) == (held_out.id, held_out.digest)
    assert sum(map(sum, card.confusion)) == 300
    assert store.job(card.job).data == card.data.model_dump(mode="json")
    assert store.job(card.job).progress["batches"] == 6
    both = train(datasets=["mnist", mine.id])
    assert store.job(both.job).progress["batches"] == 26
    assert len({card.data_digest for card in (plain, card, both)}) == 3
    assert plain.data_digest == mnist.digest
    assert [source.id for source in plain.data.train] == ["mnist"]


def test_gate_compares_with_the_live_version_on_the_test_data_set(
    train, store, registry, held_out, mnist
):
    card = train(test_dataset=held_out.id, promote="if_better")
    live = net_with(registry.weights(1))

    def share_right(first, count):
        part = slice(first, first + count)
        images = Digits(mnist.train.pixels[part], mnist.train.labels[part])
        return float(correct_mask(live, images, torch.device("cpu")).mean())

    result = store.job(card.job).result
    assert result["baseline"]["version"] == 1
    assert result["baseline"]["test_accuracy"] == share_right(40_000, 300)
    assert result["baseline"]["test_accuracy"] != registry.card(1).test_accuracy
    assert result["test_accuracy"] == card.test_accuracy
    assert (result["promoted"], result["cause"]) == (False, "worse")


def test_corrections_are_a_data_set_and_include_feedback_an_alias(train, settings, digits):
    feedback = FeedbackStore(settings.feedback_dir, 9)
    for label, image in enumerate(digits):
        feedback.add(image, label)
    alias, named = train(include_feedback=True), train(datasets=["mnist", "corrections"])
    assert alias.weights_digest == named.weights_digest
    assert (alias.feedback, named.feedback, alias.data) == (4, 4, named.data)
    assert named.data.train[1].digest == digest(LabelledImages(digits, torch.arange(4).numpy()))
    card = train(datasets=["corrections"])
    assert (card.feedback, card.data.train[0].images) == (4, 4)


def test_a_job_goes_on_with_the_same_data_or_not_at_all(
    train,
    start,
    store,
    registry,
    mine,
    mnist,
    monkeypatch,
):
    hyperparameters = {"datasets": ["mnist", mine.id], "epochs": 2, "promote": "never"}
    expected = train(**hyperparameters)
    run = start(**hyperparameters)
    with monkeypatch.context() as patch:
        interrupt_batch(patch, 30)
        with pytest.raises(KeyboardInterrupt):
            run.run()
    resumed = resume_job(start, store, registry, run.job.id)
    assert resumed.weights_digest == expected.weights_digest
    assert resumed.data == expected.data
    run = start(**hyperparameters)
    with monkeypatch.context() as patch:
        interrupt_batch(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            run.run()
    monkeypatch.setattr(content, "read", lambda *_: part_of(mnist, 0, 600))
    with pytest.raises(DatasetUnavailable, match="and the job began with"):
        resume_job(start, store, registry, run.job.id)


def test_a_job_whose_data_set_is_gone_fails_in_words(start, mine, held_out, datasets, database):
    run = start(datasets=["corrections"])
    with pytest.raises(DatasetUnavailable, match="have no images"):
        run.run()
    run = start(datasets=[held_out.id])
    gone = delete(tables.Dataset).where(tables.Dataset.id == held_out.id)
    database.write(lambda session: session.execute(gone))
    with pytest.raises(DatasetUnavailable, match="does not exist"):
        run.run()
    datasets.files.local_path(mine.id).write_bytes(b"damaged")
    with pytest.raises(DatasetUnavailable, match="is damaged"):
        start(datasets=[mine.id]).run()


def test_names_become_ids(datasets, mine, held_out):
    request = Hyperparameters(datasets=["mnist", "mine"], test_dataset="held-out")
    found = with_ids(request, datasets)
    assert (found.datasets, found.test_dataset) == (["mnist", mine.id], held_out.id)
    assert with_ids(Hyperparameters(), datasets) == Hyperparameters()
    grid = with_ids(Grid(datasets=["mine"], epochs=[1, 2]), datasets)
    assert [job.datasets for job in grid.jobs(1)] == [[mine.id]] * 2
    for fields, field in (
        ({"datasets": ["none"]}, "datasets"),
        ({"test_dataset": "none"}, "test_dataset"),
        ({"datasets": ["mine", mine.id]}, "datasets"),
        ({"datasets": ["mine"], "test_dataset": mine.id}, "test_dataset"),
    ):
        with pytest.raises(InvalidField) as error:
            with_ids(Hyperparameters(**fields), datasets)
        assert error.value.errors[0].field == field


@pytest.mark.parametrize(
    "fields",
    [
        {"datasets": []},
        {"datasets": ["mnist", "mnist"]},
        {"datasets": ["a b"]},
        {"datasets": ["mnist-test"]},
        {"test_dataset": "mnist"},
        {"test_dataset": "corrections", "include_feedback": True},
        {"datasets": [f"a{n}" for n in range(17)]},
    ],
    ids=str,
)
def test_data_that_no_job_can_have_are_refused(fields):
    for request in (Hyperparameters, Grid):
        with pytest.raises(ValueError, match=r"datasets|test_dataset"):
            request(**fields)
