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

from app.database.store import Store
from app.monitoring import prometheus
from app.predict.predictor import Predictor
from app.telemetry.worker_metrics import Samples, WorkerMetricsFile
from app.versions.registry import Registry

# Seconds by which what other workers counted may be out of date. It must be less than the time
# between two scrapes: counted by one worker and by another, a sum would seem to shrink.
EVERY: Final = 0.5
log = logging.getLogger(__name__)


class Families(list[Metric], Collector):
    """Families, as the library's encoders take them."""

    def collect(self) -> Iterator[Metric]:
        return iter(self)


class MetricsCollector:
    """Reads on the event loop what belongs to it, and the rest in a thread."""

    def __init__(
        self, predictor: Predictor, registry: Registry, store: Store, ledger: WorkerMetricsFile | None
    ) -> None:
        self.predictor, self.registry, self.store = predictor, registry, store
        self.ledger = ledger
        self._left: Samples = {}

    async def families(self) -> Families:
        """Give all there is to tell."""
        return await asyncio.to_thread(self._complete, self._own())

    async def publish_periodically(self) -> None:
        """Leave for the other workers what this one counted, until cancelled."""
        while self.ledger:
            await asyncio.sleep(EVERY)
            counted = prometheus.samples(self._own())
            await asyncio.to_thread(self._leave, counted)

    def publish(self) -> None:
        """Leave it once more, before this process ends."""
        self._leave(prometheus.samples(self._own()))

    def _own(self) -> list[Metric]:
        predictor = self.predictor
        under_way, swaps = predictor.in_flight, predictor.live.swaps
        return prometheus.process_families(predictor.metrics, under_way=under_way, swaps=swaps)

    def _complete(self, counted: list[Metric]) -> Families:
        if self.ledger:
            prometheus.merge_workers(counted, self.ledger.read_others())
        model = prometheus.of_model(self.predictor.live, self.registry)
        return Families([*counted, *model, *prometheus.of_jobs(self.store)])

    def _leave(self, counted: Samples) -> None:
        if self.ledger is None or counted == self._left:
            return
        try:
            self.ledger.write(counted)
            self._left = counted
        except OSError as error:  # a full disk; it is tried again
            log.warning("what was counted cannot be left for other workers: %s", error)
