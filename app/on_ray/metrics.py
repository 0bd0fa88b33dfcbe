"""What a replica tells at `/metrics`, told to Ray as well, whose endpoint on each node is scraped.

What enters: families of metrics. What leaves: a gauge of Ray for each name, with Serve's own labels
`application`, `deployment` and `replica` beside ours. Counters and buckets are gauges there, too,
since they come here as sums. This module does not know what they tell.
"""

import asyncio
import logging
from typing import Final

from ray.serve.metrics import Gauge

from app.monitoring.collector import Families, MetricsCollector

# Seconds. Every ten of them Ray collects what it was told since.
EVERY: Final = 3.0
log = logging.getLogger(__name__)


class RayMetricsBridge:
    """One process's gauges, which Ray wants only once by each name."""

    def __init__(self, scrape: MetricsCollector) -> None:
        self.scrape = scrape
        self._gauges: dict[str, Gauge] = {}

    async def publish_periodically(self) -> None:
        """Set Ray's gauges again and again, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._set_gauges, await self.scrape.families())
            except OSError as error:  # of the state folder; it is tried again
                log.warning("Ray cannot be told what is counted: %s", error)
            await asyncio.sleep(EVERY)

    def _set_gauges(self, families: Families) -> None:
        for family in families:
            for sample in family.samples:
                gauge = self._gauges.get(sample.name)
                if gauge is None:
                    gauge = Gauge(sample.name, family.documentation, tuple(sample.labels))
                    self._gauges[sample.name] = gauge
                gauge.set(sample.value, sample.labels)
