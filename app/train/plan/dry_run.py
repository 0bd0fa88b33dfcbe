"""Dry run of a training job: what it would train with, for how long, and behind which queue.

It checks what the submission of a job checks, and queues nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log
from statistics import median
from typing import Final

from app.config.settings import Settings
from app.database.jobs import JobStore
from app.database.tables import Job
from app.datasets.catalogue import Datasets
from app.datasets.records import CORRECTIONS, MNIST
from app.mnist.files import count_training_images
from app.net import DIGITS
from app.train.jobs.hyperparameters import Hyperparameters, learns_non_digits
from app.train.jobs.job import Status, queue_full
from app.train.plan.recipe_sizes import images_per_epoch, validation_images

# The most jobs whose epochs an estimate looks at.
PAST_JOBS: Final = 50


@dataclass(frozen=True, slots=True)
class DryRun:
    """The plan of a job.

    `images` are the training images by digit, with the corrections. `validation_images` of them are
    held out. `non_digits` are the corrections without a digit that the recipe trains with.
    """

    hyperparameters: Hyperparameters
    images: dict[str, int]
    non_digits: int
    validation_images: int
    steps: int
    jobs_ahead: int
    estimated_seconds: float | None


def dry_run(
    store: JobStore, datasets: Datasets, settings: Settings, hyperparameters: Hyperparameters
) -> DryRun:
    """Return the plan of a job with these hyperparameters. Raises QueueFull, NotReady, NotFound."""
    if store.count_waiting(Status.QUEUED) >= settings.train_queue:
        raise queue_full(settings.train_queue)
    names = hyperparameters.training_datasets
    counts = {name: _count(name, datasets, settings) for name in names}
    corrections = sum(counts.get(CORRECTIONS, ()))
    total = sum(map(sum, counts.values())) - corrections
    if names == [CORRECTIONS]:  # alone, they are the training images
        total, corrections = corrections, 0
    validation = validation_images(total, hyperparameters.validation_fraction)
    per_epoch = images_per_epoch(hyperparameters.recipe, total - validation, corrections)
    steps = hyperparameters.epochs * ceil(per_epoch / hyperparameters.batch_size)
    jobs = store.count_jobs()
    by_digit = zip(*counts.values(), strict=True)
    return DryRun(
        hyperparameters,
        {str(digit): sum(numbers) for digit, numbers in enumerate(by_digit)},
        _count_non_digits(datasets, hyperparameters),
        validation,
        steps,
        jobs.get(Status.QUEUED, 0) + jobs.get(Status.RUNNING, 0),
        _estimate(store.trained_jobs(PAST_JOBS), hyperparameters, steps),
    )


def _count(name: str, datasets: Datasets, settings: Settings) -> list[int]:
    """Return the number of images of a data set by digit."""
    if name == MNIST:
        return count_training_images(settings.data_dir)
    labels = datasets.get(name).labels or {}
    return [labels.get(str(digit), 0) for digit in range(DIGITS)]


def _count_non_digits(datasets: Datasets, hyperparameters: Hyperparameters) -> int:
    is_used = CORRECTIONS in hyperparameters.training_datasets
    if not (is_used and learns_non_digits(hyperparameters.recipe)):
        return 0
    return datasets.get(CORRECTIONS).non_digits


def _estimate(past: Sequence[Job], hyperparameters: Hyperparameters, steps: int) -> float | None:
    """Return the seconds of these steps, or None if no job with this recipe and device has ended.

    The time of an image depends on the size of its batch, so the jobs with the closest batch size
    count.
    """
    target = hyperparameters.recipe, hyperparameters.device
    same = [
        job
        for job in past
        if job.epochs
        and job.progress
        and (job.hyperparameters["recipe"], job.hyperparameters["device"]) == target
    ]
    if not same:
        return None

    def distance(job: Job) -> float:
        return abs(log(job.hyperparameters["batch_size"] / hyperparameters.batch_size))

    closest = min(map(distance, same))
    seconds = [_seconds_per_image(job) for job in same if distance(job) == closest]
    return steps * hyperparameters.batch_size * median(seconds)


def _seconds_per_image(job: Job) -> float:
    """Return the time of an epoch of a job, for each image that its batches have room for."""
    assert job.progress, "a job that ended an epoch has recorded its batches"
    images = job.progress["batches"] * job.hyperparameters["batch_size"]
    return float(median(epoch["seconds"] for epoch in job.epochs) / images)
