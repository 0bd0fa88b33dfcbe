"""Metrics collector: merges metrics of this process, other workers, live version and database."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.database.jobs import JobStore
from app.monitoring import prometheus
from app.predict.live_model import LiveModel
from app.predict.predictor import Predictor
from app.telemetry.metrics import Metrics
from app.telemetry.worker_metrics import Samples, WorkerMetricsFile
from app.versions.registry import Registry

# Seconds by which the metrics of other workers may be out of date. It must be shorter than the
# scrape interval: if two workers answer in turn, a sum would otherwise seem to shrink.
PUBLISH_INTERVAL: Final = 0.5
log = logging.getLogger(__name__)


class Families(list[Metric], Collector):
    """Metric families in the form that the encoders of prometheus_client take."""

    def collect(self) -> Iterator[Metric]:
        return iter(self)


class MetricsCollector:
    """Collects metrics: those of this event loop directly, and the rest in a thread."""

    def __init__(
        self,
        metrics: Metrics,
        predictor: Predictor,
        live: LiveModel,
        registry: Registry,
        store: JobStore,
        worker_metrics_file: WorkerMetricsFile | None,
    ) -> None:
        self.metrics, self.predictor, self.live = metrics, predictor, live
        self.registry, self.store = registry, store
        self.worker_metrics_file = worker_metrics_file
        self._last_published: Samples = {}

    async def families(self) -> Families:
        """Return all metric families."""
        return await asyncio.to_thread(self._all_families, self._process_families())

    async def publish_periodically(self) -> None:
        """Write the metrics of this process for the other workers, until cancelled."""
        while self.worker_metrics_file:
            await asyncio.sleep(PUBLISH_INTERVAL)
            samples = prometheus.samples(self._process_families())
            await asyncio.to_thread(self._write, samples)

    def publish(self) -> None:
        """Write the metrics once more, before this process ends."""
        self._write(prometheus.samples(self._process_families()))

    def _process_families(self) -> list[Metric]:
        in_flight, swaps = self.predictor.in_flight, self.live.swaps
        decoders = self.predictor.decoders.processes
        return prometheus.process_families(
            self.metrics, in_flight=in_flight, swaps=swaps, decoders=decoders
        )

    def _all_families(self, families: list[Metric]) -> Families:
        if self.worker_metrics_file:
            prometheus.merge_workers(families, self.worker_metrics_file.read_others())
        model = prometheus.model_families(self.live, self.registry)
        return Families([*families, *model, *prometheus.job_families(self.store)])

    def _write(self, samples: Samples) -> None:
        if self.worker_metrics_file is None or samples == self._last_published:
            return
        try:
            self.worker_metrics_file.write(samples)
            self._last_published = samples
        except OSError as error:  # for example a full disk; the next interval tries again
            log.warning("metrics could not be written for other workers: %s", error)
