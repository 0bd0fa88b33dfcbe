"""Export of a replica's metrics to Ray, whose endpoint on each node Prometheus scrapes.

Each metric becomes a gauge of Ray, with Serve's labels `application`, `deployment` and `replica` in
addition. Counters and buckets are gauges too, because they arrive here as sums.
"""

import asyncio
import logging
from typing import Final

from ray.serve.metrics import Gauge

from app.monitoring.collector import Families, MetricsCollector

# Seconds. Ray collects its metrics every ten seconds.
EVERY: Final = 3.0
log = logging.getLogger(__name__)


class RayMetricsBridge:
    """The Ray gauges of one process; Ray allows each name only once."""

    def __init__(self, scrape: MetricsCollector) -> None:
        self.scrape = scrape
        self._gauges: dict[str, Gauge] = {}

    async def publish_periodically(self) -> None:
        """Update Ray's gauges periodically, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._set_gauges, await self.scrape.families())
            except OSError as error:  # from the state folder; the next interval tries again
                log.warning("metrics could not be sent to Ray: %s", error)
            await asyncio.sleep(EVERY)

    def _set_gauges(self, families: Families) -> None:
        for family in families:
            for sample in family.samples:
                gauge = self._gauges.get(sample.name)
                if gauge is None:
                    gauge = Gauge(sample.name, family.documentation, tuple(sample.labels))
                    self._gauges[sample.name] = gauge
                gauge.set(sample.value, sample.labels)
