"""Metric families, from `app.monitoring.prometheus`."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from app.api.openapi import examples
from app.api.routes.metrics import OPEN_METRICS
from app.monitoring import prometheus
from app.telemetry.metrics import Metrics, Route
from tools.reference.markdown import page, table


def metrics_page() -> str:
    """Return the page of the metric families."""
    counted = Metrics()
    counted.request(Route("GET", "/"), 200, 0.1)
    rows = [
        (f"`{_sample_name(family)}`", family.type, _labels(family), family.documentation)
        for family in (
            *prometheus.process_families(counted, in_flight=0, swaps=0, decoders=0),
            *_gauges(),
        )
    ]
    return page(
        [
            "# Metrics",
            "`GET /metrics` answers in Prometheus' text format, or in OpenMetrics if the client "
            f"sends `Accept: {OPEN_METRICS}`. If several worker processes serve, the answer "
            "contains the sum of all of them. On Ray, it contains the replica that answers.",
            table(("metric", "type", "labels", "meaning"), sorted(rows)),
            "A histogram has the samples `_bucket`, `_sum` and `_count`.",
        ]
    )


def _gauges() -> Iterable[Any]:
    """Return the families of a live version and of a job, each made of an example."""
    job, card = examples.TRAINING.model_dump(mode="json"), examples.CARD
    model = SimpleNamespace(version=card.version, network=SimpleNamespace(device_error=""))
    live: Any = SimpleNamespace(model=model)
    registry: Any = SimpleNamespace(card=lambda _version: card)
    store: Any = SimpleNamespace(count_jobs=dict, last_started_job=lambda: SimpleNamespace(**job))
    return [*prometheus.model_families(live, registry), *prometheus.job_families(store)]


def _sample_name(family: Any) -> str:
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    return f"{family.name}{suffix}"


def _labels(family: Any) -> str:
    names = {name: None for sample in family.samples for name in sample.labels if name != "le"}
    return ", ".join(f"`{name}`" for name in names)
