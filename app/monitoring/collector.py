"""Everything that a service tells of itself, put together when it is asked.

What enters: this process's tally, what the other workers left, the live version's card, and the
database. What leaves: families of metrics. This module does not know who asks.
"""

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

# Seconds by which what other workers counted may be out of date. It must be less than the time
# between two scrapes: counted by one worker and by another, a sum would seem to shrink.
PUBLISH_INTERVAL: Final = 0.5
log = logging.getLogger(__name__)


class Families(list[Metric], Collector):
    """Families, as the library's encoders take them."""

    def collect(self) -> Iterator[Metric]:
        return iter(self)


class MetricsCollector:
    """Reads on the event loop what belongs to it, and the rest in a thread."""

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
        """Return all there is to tell."""
        return await asyncio.to_thread(self._all_families, self._process_families())

    async def publish_periodically(self) -> None:
        """Leave for the other workers what this one counted, until cancelled."""
        while self.worker_metrics_file:
            await asyncio.sleep(PUBLISH_INTERVAL)
            samples = prometheus.samples(self._process_families())
            await asyncio.to_thread(self._write, samples)

    def publish(self) -> None:
        """Leave it once more, before this process ends."""
        self._write(prometheus.samples(self._process_families()))

    def _process_families(self) -> list[Metric]:
        in_flight, swaps = self.predictor.in_flight, self.live.swaps
        return prometheus.process_families(self.metrics, in_flight=in_flight, swaps=swaps)

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
        except OSError as error:  # a full disk; it is tried again
            log.warning("what was counted cannot be left for other workers: %s", error)
