"""Data that a job trains with and is tested on, fixed by digest when its first attempt starts."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import torch

from app.datasets import content
from app.datasets.catalogue import Datasets, open_datasets
from app.datasets.records import BUILT_IN, CORRECTIONS, MNIST, MNIST_TEST
from app.errors import Conflict, NotFound
from app.mnist.dataset import DatasetUnavailable
from app.mnist.files import LabelledImages
from app.train.jobs.hyperparameters import Hyperparameters, Recipe, learns_non_digits
from app.train.recipes.dataset import Corrections, Dataset, Digits, no_digits
from app.train.worker.attempt import JobAttempt
from app.versions.bucket.object_store import BucketUnavailable
from app.versions.card import DatasetReference, TrainingData


def needs_mnist(hyperparameters: Hyperparameters) -> bool:
    """Return whether a job trains with MNIST or is tested on it."""
    return not {MNIST, MNIST_TEST}.isdisjoint(_names(hyperparameters))


def needs_corrections(hyperparameters: Hyperparameters) -> bool:
    """Return whether a job trains with the corrections or is tested on them."""
    return CORRECTIONS in _names(hyperparameters)


def assemble(
    attempt: JobAttempt, mnist: Dataset | None, corrections: Corrections | None
) -> Dataset:
    """Return the data of a job, and record what they are.

    The corrections stay apart from the other training images: recipes hold none of them out.
    Raises DatasetUnavailable, BucketUnavailable, Superseded.
    """
    hyperparameters = attempt.hyperparameters
    database, beat = attempt.writer.store.database, attempt.heartbeat.beat
    datasets = open_datasets(attempt.settings, database, beat)
    learned = _learned_by(hyperparameters.recipe, corrections or Corrections())
    present = {CORRECTIONS: learned.digits}
    if mnist is not None:
        present |= {MNIST: mnist.train, MNIST_TEST: mnist.test}
    digits = {
        name: present[name] if name in BUILT_IN else _load(name, datasets)
        for name in _names(hyperparameters)
    }
    names, test = hyperparameters.training_datasets, hyperparameters.test_dataset
    sources = TrainingData(
        train=[
            _with_non_digits(_reference(name, digits[name], datasets), learned) for name in names
        ],
        test=_reference(test, digits[test], datasets),
    )
    _fix(attempt, sources)
    others = [name for name in names if name != CORRECTIONS]
    train = _concat([digits[name] for name in others]) if others else digits[CORRECTIONS]
    if not (len(train) and len(digits[test])):
        raise DatasetUnavailable(
            f"The data sets {', '.join(names)} or {test} have no images of digits."
        )
    is_mnist = others == [MNIST] and test == MNIST_TEST
    digest = mnist.digest if mnist and is_mnist else _digest(sources)
    dataset = Dataset(train, digits[test], digest, sources=sources)
    if CORRECTIONS not in names:
        return dataset
    dataset = dataset.with_corrections(learned)
    if others:
        return dataset
    return replace(dataset, corrections=replace(learned, digits=no_digits()))


def _learned_by(recipe: Recipe, corrections: Corrections) -> Corrections:
    """Return the corrections that a recipe trains with: some learn digits alone."""
    return corrections if learns_non_digits(recipe) else Corrections(corrections.digits)


def corrections_of(dataset: Dataset) -> int | None:
    """Return the number of corrections in the training set, or None if none were requested."""
    if dataset.sources is None:
        return None if dataset.corrections is None else len(dataset.corrections)
    counts = (source.images for source in dataset.sources.train if source.id == CORRECTIONS)
    return next(counts, None)


def _fix(attempt: JobAttempt, sources: TrainingData) -> None:
    """Record the data sets, or check that they are those of the first attempt.

    The corrections may differ if another service takes the job over, and then begins it again.
    Raises DatasetUnavailable, Superseded.
    """
    recorded = attempt.job.data
    if recorded is not None:
        before = TrainingData.model_validate(recorded)
        for old, new in zip(
            (*before.train, before.test), (*sources.train, sources.test), strict=True
        ):
            if old.digest != new.digest and new.id != CORRECTIONS:
                raise DatasetUnavailable(
                    f"The data set {new.name} has the digest {new.digest}, and the job began with "
                    f"{old.digest}. Start another job."
                )
    attempt.writer.record_data(sources.model_dump(mode="json"))


def _names(hyperparameters: Hyperparameters) -> list[str]:
    return [*hyperparameters.training_datasets, hyperparameters.test_dataset]


def _load(dataset_id: str, datasets: Datasets) -> Digits:
    """Return the images of an uploaded data set. Raises DatasetUnavailable, BucketUnavailable."""
    try:
        images = datasets.images(datasets.get(dataset_id))
    except BucketUnavailable:
        raise
    except (Conflict, NotFound) as error:
        raise DatasetUnavailable(error.detail) from error
    return Digits(torch.from_numpy(images.pixels), torch.from_numpy(images.labels).long())


def _reference(name: str, digits: Digits, datasets: Datasets) -> DatasetReference:
    images = LabelledImages(digits.pixels.numpy(), digits.labels.numpy())
    return DatasetReference(
        id=name,
        name=name if name in BUILT_IN else datasets.get(name).name,
        digest=content.digest(images),
        images=len(digits),
    )


def _with_non_digits(reference: DatasetReference, learned: Corrections) -> DatasetReference:
    """Return the reference of the corrections with their images without a digit."""
    if reference.id != CORRECTIONS:
        return reference
    return reference.model_copy(
        update={
            "digest": learned.extend_digest(reference.digest),
            "images": len(learned),
            "non_digits": len(learned.non_digits),
        }
    )


def _digest(sources: TrainingData) -> str:
    """Return the sha256 of the digests of all data sets but the corrections, the test's last."""
    digests = [source.digest for source in sources.train if source.id != CORRECTIONS]
    return hashlib.sha256("\n".join([*digests, sources.test.digest]).encode()).hexdigest()


def _concat(digits: Sequence[Digits]) -> Digits:
    """Return all digits in order; a single data set is not copied."""
    if len(digits) == 1:
        return digits[0]
    pixels = torch.cat([part.pixels for part in digits])
    return Digits(pixels, torch.cat([part.labels for part in digits]))
