"""Prometheus metric families of requests, images, model and jobs."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate, chain
from typing import Final

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from app.database.jobs import JobStore
from app.database.tables import Job
from app.datasets.records import MNIST_TEST
from app.errors import ClientDisconnected, DeadlineExceeded, NotReady, QueueFull, ServiceError
from app.predict.live_model import LiveModel
from app.telemetry.metrics import ANSWERED, RESTART_REASONS, Histogram, Metrics
from app.telemetry.worker_metrics import Entry, Samples
from app.train.jobs.job import Status
from app.versions.card import Card
from app.versions.registry import Registry

OUTCOMES: Final = (ANSWERED, QueueFull.code, ClientDisconnected.code, DeadlineExceeded.code)


def process_families(
    metrics: Metrics, *, in_flight: int, swaps: int, decoders: int
) -> list[Metric]:
    """Return the metric families of one process."""
    return [
        *_request_families(metrics),
        *_image_families(metrics),
        *_answer_families(metrics),
        *_decoder_families(metrics, decoders),
        GaugeMetricFamily("mynet_images_under_way", "Images in flight.", in_flight),
        CounterMetricFamily(
            "mynet_model_swaps",
            "Number of times that a process switched to another version.",
            swaps,
        ),
    ]


def samples(families: Iterable[Metric]) -> Samples:
    """Return the samples of the families, in the form that other processes merge."""
    return {
        family.name: [(sample.name, sample.labels, sample.value) for sample in family.samples]
        for family in families
    }


def merge_workers(families: Iterable[Metric], others: Iterable[Entry]) -> None:
    """Add the metrics of other processes. Gauges of processes that have ended do not count."""
    entries = list(others)
    for family in families:
        sums: defaultdict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
        other_samples = (
            entry.samples.get(family.name, ())
            for entry in entries
            if entry.alive or family.type != "gauge"
        )
        for name, labels, value in chain(samples([family])[family.name], *other_samples):
            sums[name, tuple(labels.items())] += value
        family.samples = [Sample(name, dict(labels), sums[name, labels]) for name, labels in sums]


def _request_families(metrics: Metrics) -> list[Metric]:
    requests = CounterMetricFamily(
        "mynet_http_requests", "Requests answered.", labels=("method", "route", "status")
    )
    for (route, status), number in metrics.requests.items():
        requests.add_metric([*route, str(status)], number)
    seconds = HistogramMetricFamily(
        "mynet_http_request_duration_seconds",
        "Time from the end of the request's headers to the end of the response.",
        labels=("method", "route"),
    )
    for route, histogram in metrics.request_seconds.items():
        _add_histogram(seconds, histogram, *route)
    return [requests, seconds]


def _image_families(metrics: Metrics) -> list[Metric]:
    outcomes = CounterMetricFamily(
        "mynet_images",
        "Images by outcome: answered, or the error code.",
        labels=("outcome",),
    )
    for outcome in dict.fromkeys((*OUTCOMES, *metrics.images)):
        outcomes.add_metric([outcome], metrics.images[outcome])
    stages = HistogramMetricFamily(
        "mynet_stage_duration_seconds",
        "Time of each stage for an image; a forward pass is shared by its batch.",
        labels=("stage",),
    )
    for stage, histogram in metrics.stages.items():
        _add_histogram(stages, histogram, stage)
    batches = HistogramMetricFamily("mynet_batch_images", "Images per forward pass.", labels=())
    _add_histogram(batches, metrics.batch_images)
    return [outcomes, stages, batches]


def _decoder_families(metrics: Metrics, processes: int) -> list[Metric]:
    restarts = CounterMetricFamily(
        "mynet_decoder_restarts",
        "Image decoders that were replaced, by reason.",
        labels=("reason",),
    )
    for reason in RESTART_REASONS:
        restarts.add_metric([reason], metrics.decoder_restarts[reason])
    running = GaugeMetricFamily(
        "mynet_decoders", "Running processes that decode images.", processes
    )
    return [restarts, running]


def _answer_families(metrics: Metrics) -> list[Metric]:
    answers = CounterMetricFamily("mynet_answers", "Predictions by digit.", labels=("digit",))
    for digit, number in enumerate(metrics.digits):
        answers.add_metric([str(digit)], number)
    confidence = HistogramMetricFamily(
        "mynet_answer_confidence_ratio", "Probability of the predicted digit.", labels=()
    )
    _add_histogram(confidence, metrics.confidence)
    return [answers, confidence]


def _add_histogram(family: HistogramMetricFamily, histogram: Histogram, *labels: str) -> None:
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
    family.add_metric(labels, buckets, histogram.sum)


DATABASE_UP_HELP: Final = "Whether the database is available."
DEVICE_LOST_HELP: Final = "Whether the CPU answers because the device failed."


def model_families(live: LiveModel, registry: Registry) -> list[Metric]:
    """Return the metrics on the card of the live version; none if no version is loaded."""
    try:
        model = live.model
        device_lost = GaugeMetricFamily(
            "mynet_device_lost", DEVICE_LOST_HELP, bool(model.network.device_error)
        )
        return [device_lost, *_card_families(registry.card(model.version))]
    except ServiceError:
        return []


def job_families(store: JobStore) -> list[Metric]:
    """Return jobs by state, the progress of the last one, and whether the database is available."""
    try:
        numbers, last = store.count_jobs(), store.last_started_job()
    except NotReady:
        return [GaugeMetricFamily("mynet_database_up", DATABASE_UP_HELP, 0)]
    jobs = GaugeMetricFamily("mynet_jobs", "Training jobs by state.", labels=["status"])
    for status in Status:
        jobs.add_metric([status], numbers.get(status, 0))
    up = GaugeMetricFamily("mynet_database_up", DATABASE_UP_HELP, 1)
    return [up, jobs, *(_training_families(last) if last else ())]


def _card_families(card: Card) -> list[Metric]:
    info = {
        "version": str(card.version),
        "recipe": card.recipe or "",
        "origin": card.origin,
        "test_dataset": card.data.test.name if card.data else MNIST_TEST,
    }
    expected = GaugeMetricFamily(
        "mynet_model_expected_answers_ratio",
        "Share of each digit among the live version's predictions for the version's test images; "
        "mynet_model_info names their data set.",
        labels=["digit"],
    )
    answers = [sum(column) for column in zip(*card.confusion, strict=True)]
    for digit, number in enumerate(answers):
        expected.add_metric([str(digit)], number / max(1, sum(answers)))
    return [
        InfoMetricFamily("mynet_model", "The live version.", info),
        expected,
        GaugeMetricFamily(
            "mynet_model_test_accuracy_ratio",
            "Accuracy of the live version on the version's test images.",
            card.test_accuracy,
        ),
    ]


def _training_families(job: Job) -> list[Metric]:
    """Return the metrics of the job that started last. A new job has no progress or epochs yet."""
    gauges: dict[str, tuple[str, float]] = {}
    progress = job.progress or {}
    if progress:
        gauges["progress_ratio"] = "Progress from 0 to 1.", progress["fraction"]
    if job.epochs:
        epoch = job.epochs[-1]
        images = job.hyperparameters["batch_size"] * progress.get("batches", 0)
        gauges |= {
            "epochs": ("Number of finished epochs.", len(job.epochs)),
            "train_loss": ("Mean cross-entropy of the last epoch.", epoch["train_loss"]),
            "test_loss": ("Mean cross-entropy on the job's test images.", epoch["test_loss"]),
            "test_accuracy_ratio": ("Accuracy on the job's test images.", epoch["test_accuracy"]),
            "images_per_second": ("Speed of the last epoch.", images / max(1e-9, epoch["seconds"])),
        }
    return [
        GaugeMetricFamily(f"mynet_training_{name}", f"Last started job: {words}", value)
        for name, (words, value) in gauges.items()
    ]
