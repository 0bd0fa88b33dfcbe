"""What is live and what is trained, in Prometheus' words.

What enters: a card, and the database. What leaves: families of metrics, read anew each time, and
the same from whichever process is asked. This module does not know of requests.
"""

from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric

from app.database.store import Store
from app.database.tables import Job
from app.errors import NotReady, Refusal
from app.predict.live_model import Live
from app.train.jobs.job import Status
from app.versions.card import Card
from app.versions.registry import Registry

UP: Final = "Whether the database answers."
LOST: Final = "Whether the CPU answers in place of a device that raises errors."


def of_model(live: Live, registry: Registry) -> list[Metric]:
    """Give what the card of the live version says; nothing where none is loaded."""
    try:
        model = live.model
        lost = GaugeMetricFamily("mynet_device_lost", LOST, bool(model.lost))
        return [lost, *_of_card(registry.card(model.version))]
    except Refusal:
        return []


def of_jobs(store: Store) -> list[Metric]:
    """Give jobs by state, and how far the last one is. It says, too, whether that can be known."""
    try:
        numbers, last = store.count_jobs(), store.last_started_job()
    except NotReady:
        return [GaugeMetricFamily("mynet_database_up", UP, 0)]
    jobs = GaugeMetricFamily("mynet_jobs", "Training jobs by state.", labels=["status"])
    for status in Status:
        jobs.add_metric([status], numbers.get(status, 0))
    up = GaugeMetricFamily("mynet_database_up", UP, 1)
    return [up, jobs, *(_of_training(last) if last else ())]


def _of_card(card: Card) -> list[Metric]:
    known = {"version": str(card.version), "recipe": card.recipe or "", "origin": card.origin}
    expected = GaugeMetricFamily(
        "mynet_model_expected_answers_ratio",
        "Share of each digit among the live version's answers for MNIST's test images.",
        labels=["digit"],
    )
    answers = [sum(column) for column in zip(*card.confusion, strict=True)]
    for digit, number in enumerate(answers):
        expected.add_metric([str(digit)], number / max(1, sum(answers)))
    return [
        InfoMetricFamily("mynet_model", "The live version.", known),
        expected,
        GaugeMetricFamily(
            "mynet_model_test_accuracy_ratio",
            "Share of MNIST's test images that the live version reads right.",
            card.test_accuracy,
        ),
    ]


def _of_training(job: Job) -> list[Metric]:
    """A job that has just begun has no progress yet, and no epoch."""
    told: dict[str, tuple[str, float]] = {}
    progress = job.progress or {}
    if progress:
        told["progress_ratio"] = "How far the job is.", progress["fraction"]
    if job.epochs:
        epoch = job.epochs[-1]
        images = job.hyperparameters["batch_size"] * progress.get("batches", 0)
        told |= {
            "epochs": ("Epochs that have ended.", len(job.epochs)),
            "train_loss": ("Mean cross-entropy of the epoch.", epoch["train_loss"]),
            "test_loss": ("Mean cross-entropy on MNIST's test images.", epoch["test_loss"]),
            "test_accuracy_ratio": ("Share of them read right.", epoch["test_accuracy"]),
            "images_per_second": ("Speed of the epoch.", images / max(1e-9, epoch["seconds"])),
        }
    return [
        GaugeMetricFamily(f"mynet_training_{name}", f"Of the job started last: {words}", value)
        for name, (words, value) in told.items()
    ]
