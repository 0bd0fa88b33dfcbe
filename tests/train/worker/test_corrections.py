"""Training with corrections: the same ones in every attempt, and never measured on."""

import threading

import numpy as np
import pytest
import torch

from app.feedback import FeedbackStore
from app.predict.local import preprocess
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes import drawn_images, recipes
from app.train.recipes.dataset import Corrections, Dataset, Digits
from app.train.worker import corrections, state
from app.train.worker.attempt import Stopped
from app.train.worker.state import CorruptCheckpoint
from tests.conftest import png
from tests.train.worker.test_resume import interrupt_after, interrupt_batch, resume_job

CPU = torch.device("cpu")


@pytest.fixture
def feedback(settings):
    return FeedbackStore(settings.feedback_dir, 100)


@pytest.fixture
def photo(digits):
    """A seven, large and dark on light."""
    return np.ascontiguousarray(255 - np.kron(np.pad(digits[0], 30), np.ones((4, 4), np.uint8)))


def gather(feedback):
    return corrections.gather(feedback, 50_000_000, threading.Event(), lambda: None)


def card_of(store, registry, run):
    return registry.card(store.job(run.job.id).result["version"])


def train(start, store, registry, **hyperparameters):
    run = start(**{"epochs": 1, **hyperparameters})
    run.run()
    return card_of(store, registry, run)


def test_they_are_brought_into_the_form_that_predictions_are(feedback, digits, photo):
    for label, image in ((1, digits[0]), (2, digits[1]), (3, photo)):
        feedback.add(image, label)
    found = gather(feedback)
    assert found.digits.labels.tolist() == [1, 2, 3]
    for pixels, image in zip(
        found.digits.pixels.numpy(), (digits[0], digits[1], photo), strict=True
    ):
        assert np.array_equal(pixels, preprocess(png(image), 50_000_000).normalised.pixels)


def test_what_cannot_be_read_any_more_is_passed_over(feedback, digits, caplog):
    correction, _ = feedback.add(digits[0], 7)
    feedback.add(digits[1], 2)
    (feedback.folder / correction.name).write_bytes(b"damaged")
    assert gather(feedback).digits.labels.tolist() == [2]
    assert (
        f"correction skipped: id={correction.id} error=The upload is not a readable image"
        in caplog.text
    )


def test_what_is_deleted_after_it_was_listed_is_passed_over(feedback, digits, monkeypatch):
    for label, image in enumerate(digits[:2]):
        feedback.add(image, label)
    listed = feedback.all()
    feedback.delete(listed[0].id)
    monkeypatch.setattr(feedback, "all", lambda: listed)
    assert gather(feedback).digits.labels.tolist() == [0]


def test_the_card_says_how_many(start, store, registry, feedback, digits, mnist):
    for label, image in enumerate(digits):
        feedback.add(image, label)
    plain = train(start, store, registry)
    without = train(start, store, registry, include_feedback=False)
    corrected = train(start, store, registry, include_feedback=True)
    assert (plain.feedback, without.feedback, corrected.feedback) == (None, None, 4)
    assert plain.weights_digest == without.weights_digest != corrected.weights_digest
    assert plain.data_digest == mnist.digest != corrected.data_digest
    assert sum(map(sum, corrected.confusion)) == 500, "it is measured on MNIST's images alone"


def test_without_corrections_it_is_mnist_alone(start, store, registry):
    plain = train(start, store, registry)
    corrected = train(start, store, registry, include_feedback=True)
    assert corrected.feedback == 0
    assert corrected.weights_digest == plain.weights_digest
    assert corrected.data_digest == plain.data_digest


def test_the_digest_is_of_pixels_and_labels(few_digits):
    dataset = Dataset(few_digits, few_digits, "mnist")
    sample = few_digits.subset(torch.arange(3))
    other = Digits(sample.pixels, sample.labels + 1)
    digests = {
        dataset.with_corrections(Corrections(subset)).digest
        for subset in (sample, other, few_digits)
    }
    assert len(digests) == 3 and "mnist" not in digests


def replace_corrections(feedback, digits):
    feedback.delete(feedback.all()[0].id)
    feedback.add(digits[2], 8)
    feedback.add(digits[3], 9)


@pytest.mark.parametrize(
    ("interrupt", "interrupt_args"),
    [
        (interrupt_batch, (1,)),
        (interrupt_batch, (6,)),  # of 21 in each of two epochs
        (interrupt_batch, (25,)),
        (interrupt_after, ("reset_failures", 1)),
    ],
)
def test_an_interrupted_job_goes_on_with_the_very_same(
    start, store, registry, feedback, digits, monkeypatch, interrupt, interrupt_args
):
    for label, image in enumerate(digits[:2]):
        feedback.add(image, label)
    hyperparameters = {"epochs": 2, "include_feedback": True}
    expected = train(start, store, registry, **hyperparameters)
    interrupted_run = start(**hyperparameters)
    with monkeypatch.context() as patch:
        interrupt(patch, *interrupt_args)
        with pytest.raises(KeyboardInterrupt):
            interrupted_run.run()
    replace_corrections(feedback, digits)
    result = resume_job(start, store, registry, interrupted_run.job.id)
    assert (result.feedback, result.weights_digest) == (2, expected.weights_digest)
    assert result.data_digest == expected.data_digest
    assert [e.train_loss for e in result.epochs] == [e.train_loss for e in expected.epochs]
    later = train(start, store, registry, **hyperparameters)
    assert later.feedback == 3 and later.weights_digest != expected.weights_digest


def test_a_job_that_dies_while_it_gathers_gathers_again(
    start, store, registry, feedback, digits, monkeypatch
):
    feedback.add(digits[0], 7)
    interrupted_run = start(epochs=1, include_feedback=True)

    def raise_interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(state, "atomic_replace", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            interrupted_run.run()
    assert not interrupted_run.attempt.files.corrections.exists()
    assert resume_job(start, store, registry, interrupted_run.job.id).feedback == 1


def test_who_is_told_to_end_gathers_no_more(feedback, digits):
    feedback.add(digits[0], 7)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        corrections.gather(feedback, 784, stop, lambda: None)


def test_a_damaged_file_is_told(start):
    run = start(include_feedback=True)
    run.attempt.files.corrections.parent.mkdir(parents=True, exist_ok=True)
    run.attempt.files.corrections.write_bytes(b"damaged")
    with pytest.raises(CorruptCheckpoint, match=r"\.corrections is not a file of corrections"):
        run.run()


@pytest.fixture
def extra_digits(few_digits):
    return Digits(255 - few_digits.pixels[:3], few_digits.labels[:3])


def test_the_documented_recipe_puts_them_behind_mnist(few_digits, extra_digits):
    plain = recipes.documented(Hyperparameters(), few_digits, CPU)
    with_extra = recipes.documented(Hyperparameters(), few_digits, CPU, Corrections(extra_digits))
    assert torch.equal(with_extra.batches.inputs[:-3], plain.batches.inputs)
    assert torch.equal(with_extra.batches.labels[-3:], extra_digits.labels)


def test_the_robust_recipe_never_holds_them_back(few_digits, extra_digits, monkeypatch):
    monkeypatch.setattr(drawn_images, "SYNTHETIC_DIGITS", 40)
    monkeypatch.setattr(drawn_images, "ALLOGRAPHS", 30)
    monkeypatch.setattr(drawn_images, "NEGATIVES", 40)
    hyperparameters = Hyperparameters(recipe="robust", epochs=1)
    plain = recipes.robust(hyperparameters, few_digits, CPU)
    with_extra = recipes.robust(hyperparameters, few_digits, CPU, Corrections(extra_digits))
    assert torch.equal(with_extra.held_out.pixels, plain.held_out.pixels)
    training_count = len(few_digits) - len(plain.held_out)
    assert torch.equal(
        with_extra.batches.images.pixels[training_count : training_count + 3], extra_digits.pixels
    )
    assert with_extra.batches.images.digits == plain.batches.images.digits + 3


def test_an_attempt_without_them_looks_for_none(start, monkeypatch):
    monkeypatch.setattr(corrections, "FeedbackStore", lambda *_: pytest.fail("it was looked for"))
    run = start(epochs=1)
    run.run()
    assert not run.attempt.files.corrections.exists()
