"""A tally in Prometheus' words.

What enters: what this process counted, and what others did. What leaves: families of metrics, which
sum over all processes. This module does not know how they are written down, nor where others are.
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate, chain
from typing import Final

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from app.errors import Busy, ClientGone, DeadlineExceeded
from app.telemetry.metrics import ANSWERED, Histogram, Tally
from app.telemetry.worker_metrics import Entry, Samples

# Told from the beginning, so that the first one is seen as a change.
OUTCOMES: Final = (ANSWERED, Busy.code, ClientGone.code, DeadlineExceeded.code)


def of(tally: Tally, *, under_way: int, swaps: int) -> list[Metric]:
    """Give all that one process counted."""
    return [
        *_of_requests(tally),
        *_of_images(tally),
        *_of_answers(tally),
        GaugeMetricFamily("mynet_images_under_way", "Images that wait for an answer.", under_way),
        CounterMetricFamily(
            "mynet_model_swaps", "How often a process went live with another version.", swaps
        ),
    ]


def samples(families: Iterable[Metric]) -> Samples:
    """Give what another process needs to add them to its own."""
    return {
        family.name: [(sample.name, sample.labels, sample.value) for sample in family.samples]
        for family in families
    }


def add(families: Iterable[Metric], others: Iterable[Entry]) -> None:
    """Add what other processes counted; of one that has ended, nothing is under way."""
    entries = list(others)
    for family in families:
        sums: defaultdict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
        counted = (
            entry.samples.get(family.name, ())
            for entry in entries
            if entry.alive or family.type != "gauge"
        )
        for name, labels, value in chain(samples([family])[family.name], *counted):
            sums[name, tuple(labels.items())] += value
        family.samples = [Sample(name, dict(labels), sums[name, labels]) for name, labels in sums]


def _of_requests(tally: Tally) -> list[Metric]:
    requests = CounterMetricFamily(
        "mynet_http_requests", "Requests answered.", labels=("method", "route", "status")
    )
    for (route, status), number in tally.requests.items():
        requests.add_metric([*route, str(status)], number)
    seconds = HistogramMetricFamily(
        "mynet_http_request_duration_seconds",
        "Time from a request's head to its answer's end.",
        labels=("method", "route"),
    )
    for route, histogram in tally.request_seconds.items():
        _add(seconds, histogram, *route)
    return [requests, seconds]


def _of_images(tally: Tally) -> list[Metric]:
    outcomes = CounterMetricFamily(
        "mynet_images",
        "Images by what became of them: answered, or the code of the problem.",
        labels=("outcome",),
    )
    for outcome in dict.fromkeys((*OUTCOMES, *tally.images)):
        outcomes.add_metric([outcome], tally.images[outcome])
    stages = HistogramMetricFamily(
        "mynet_stage_duration_seconds",
        "Time that an image spends in each stage; a forward is of a whole batch.",
        labels=("stage",),
    )
    for stage, histogram in tally.stages.items():
        _add(stages, histogram, stage)
    batches = HistogramMetricFamily("mynet_batch_images", "Images in one forward.", labels=())
    _add(batches, tally.batch_images)
    return [outcomes, stages, batches]


def _of_answers(tally: Tally) -> list[Metric]:
    answers = CounterMetricFamily("mynet_answers", "Answers by digit.", labels=("digit",))
    for digit, number in enumerate(tally.digits):
        answers.add_metric([str(digit)], number)
    confidence = HistogramMetricFamily(
        "mynet_answer_confidence_ratio", "The probability of the digit that is answered.", labels=()
    )
    _add(confidence, tally.confidence)
    return [answers, confidence]


def _add(family: HistogramMetricFamily, histogram: Histogram, *labels: str) -> None:
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
    family.add_metric(labels, buckets, histogram.sum)
