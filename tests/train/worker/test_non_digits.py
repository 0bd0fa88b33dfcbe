"""Corrections that show no digit: what trains with them, what does not, and what is measured."""

import threading

import numpy as np
import pytest
import torch

from app.datasets import content
from app.feedback import FeedbackStore
from app.mnist.dataset import DatasetUnavailable
from app.mnist.files import LabelledImages
from app.predict.local import preprocess
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes import drawn_images, recipes
from app.train.recipes.dataset import Corrections, Dataset, Digits
from app.train.worker import corrections
from tests.conftest import png
from tests.train.worker.test_resume import interrupt_batch, resume_job

CPU = torch.device("cpu")


@pytest.fixture
def feedback(settings):
    return FeedbackStore(settings.feedback_dir, 100)


@pytest.fixture
def crosses():
    """Three crosses of different sizes, dark on light."""
    pictures = []
    for side in (40, 60, 80):
        picture = np.full((100, 100), 255, np.uint8)
        steps = np.arange(side) + (100 - side) // 2
        for place in range(-3, 4):
            picture[steps, steps + place] = picture[steps, 99 - steps + place] = 0
        pictures.append(picture)
    return pictures


@pytest.fixture
def train(start, store, registry):
    """Return what trains one epoch and returns the card of its version."""

    def train(**hyperparameters):
        run = start(**{"epochs": 1, "promote": "never", **hyperparameters})
        run.run()
        return registry.card(store.job(run.job.id).result["version"])

    return train


@pytest.fixture
def few_synthetic(monkeypatch):
    for name in ("SYNTHETIC_DIGITS", "ALLOGRAPHS", "NEGATIVES"):
        monkeypatch.setattr(drawn_images, name, 40)


def gather(feedback):
    return corrections.gather(feedback, 50_000_000, threading.Event(), lambda: None)


def test_images_without_a_digit_are_gathered_apart_and_normalised(feedback, digits, crosses):
    for label, image in ((1, digits[0]), (None, crosses[0]), (2, digits[1]), (None, crosses[1])):
        feedback.add(image, label)
    found = gather(feedback)
    assert found.digits.labels.tolist() == [1, 2]
    assert len(found) == 4
    for pixels, image in zip(found.non_digits.numpy(), crosses[:2], strict=True):
        assert np.array_equal(pixels, preprocess(png(image), 50_000_000).normalised.pixels)


@pytest.mark.parametrize("recipe", ["documented", "quick"])
def test_recipes_that_learn_digits_train_without_them(train, feedback, digits, crosses, recipe):
    plain = train(recipe=recipe)
    feedback.add(crosses[0], None)
    with_cross = train(recipe=recipe, include_feedback=True)
    assert with_cross.weights_digest == plain.weights_digest
    assert with_cross.data_digest == plain.data_digest
    (reference,) = with_cross.data.train[1:]
    assert (with_cross.feedback, reference.images, reference.non_digits) == (0, 0, 0)
    feedback.add(digits[0], 7)
    corrected = train(recipe=recipe, include_feedback=True)
    (reference,) = corrected.data.train[1:]
    assert (corrected.feedback, reference.images, reference.non_digits) == (1, 1, 0)
    seven = LabelledImages(digits[:1], np.array([7]))
    assert reference.digest == content.digest(seven), "the digest is that of the digits"


@pytest.mark.usefixtures("few_synthetic")
def test_recipe_robust_takes_them_for_negatives(few_digits, crosses):
    hyperparameters = Hyperparameters(recipe="robust", epochs=1)
    stacked = torch.from_numpy(np.stack(crosses))[:, :28, :28].contiguous()

    def batches_with(extra):
        torch.manual_seed(5)
        batches = recipes.robust(hyperparameters, few_digits, CPU, extra).batches
        batches.images.draw_remaining()
        return batches

    plain = batches_with(None)
    added = batches_with(Corrections(non_digits=stacked))
    assert torch.equal(added.images.pixels, torch.cat([plain.images.pixels, stacked]))
    assert (len(added), added.images.digits) == (len(plain), plain.images.digits)
    without = batches_with(Corrections(few_digits.subset(torch.arange(3))))
    assert len(without.images) == len(plain.images) + 3
    assert without.images.digits == plain.images.digits + 3, "all three are digits"


@pytest.mark.usefixtures("few_synthetic")
def test_robust_job_resumes_with_the_same_ones(
    train, start, store, registry, feedback, digits, crosses, monkeypatch
):
    feedback.add(digits[0], 7)
    hyperparameters = {"recipe": "robust", "include_feedback": True, "promote": "never"}
    of_digits = train(**hyperparameters)
    crossed, _ = feedback.add(crosses[0], None)
    expected = train(**hyperparameters)
    (reference,) = expected.data.train[1:]
    assert (expected.feedback, reference.images, reference.non_digits) == (2, 2, 1)
    assert of_digits.weights_digest != expected.weights_digest
    assert of_digits.data_digest != expected.data_digest
    assert of_digits.data.train[1].digest != reference.digest
    run = start(**{**hyperparameters, "epochs": 1})
    with monkeypatch.context() as patch:
        interrupt_batch(patch, 6)
        with pytest.raises(KeyboardInterrupt):
            run.run()
    feedback.delete(crossed.id)
    feedback.add(crosses[1], None)
    resumed = resume_job(start, store, registry, run.job.id)
    assert resumed.weights_digest == expected.weights_digest
    assert (resumed.data, resumed.data_digest) == (expected.data, expected.data_digest)


def test_file_of_an_older_release_has_none(few_digits, tmp_path):
    path = tmp_path / "job.corrections"
    torch.save({"pixels": few_digits.pixels, "labels": few_digits.labels}, path)
    found = corrections._load(path)
    assert len(found) == len(found.digits) == len(few_digits)
    assert found.non_digits.shape == (0, 28, 28)


def test_training_and_test_need_digits(train, feedback, digits, crosses):
    feedback.add(crosses[0], None)
    for fields in ({"datasets": ["corrections"]}, {"test_dataset": "corrections"}):
        with pytest.raises(DatasetUnavailable, match="have no images of digits"):
            train(**fields)
    for label, image in ((7, digits[0]), (2, digits[1])):
        feedback.add(image, label)
    card = train(test_dataset="corrections")
    assert (sum(map(sum, card.confusion)), card.data.test.images) == (2, 2)


def test_digest_of_the_data_has_corrections_that_are_all_of_it(train, feedback, digits):
    feedback.add(digits[0], 7)
    first = train(datasets=["corrections"])
    feedback.add(digits[1], 2)
    second = train(datasets=["corrections"])
    assert first.data_digest != second.data_digest


def test_digest_is_of_the_images_without_a_digit_too(few_digits):
    dataset = Dataset(few_digits, few_digits, "mnist")
    some, others = few_digits.pixels[:2], few_digits.pixels[2:4]
    digits = Digits(few_digits.pixels[:1], few_digits.labels[:1])
    subsets = [
        Corrections(parts, pixels)
        for parts in (Corrections().digits, digits)
        for pixels in (Corrections().non_digits, some, others)
    ]
    found = [dataset.with_corrections(subset).digest for subset in subsets]
    assert len(set(found)) == 6 and found[0] == "mnist"
