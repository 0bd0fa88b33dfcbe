"""A promotion, which one replica hears of: all of them follow."""

import asyncio
import logging

from tests.ray.conftest import REQUEST_COUNT
from tests.ray.rigs.scraping import by_replica
from tests.rigs.load.http_load import failed, run
from tests.rigs.swaps import distinct_versions
from tests.rigs.swaps.swapping import press, swap
from tests.service.running import TRAINING_TIMEOUT, wait_until

CHANGES = 5
REQUEST_INTERVAL = 0.01  # replicas need the cores to follow
TIMEOUT = TRAINING_TIMEOUT
log = logging.getLogger(__name__)


def live_versions(service):
    """Return which versions the replicas have, as far as many requests reach all of them."""
    return {service.get("/health/ready")["version"] for _ in range(REQUEST_COUNT)}


def test_all_replicas_follow(service, cluster, reference):
    load = {"keep_alive": False, "interval": REQUEST_INTERVAL}
    phase = run(press(service.port, reference, 8, swap(service.port, CHANGES, 3.0), **load))
    assert wait_until(lambda: live_versions(service) == {2}, TIMEOUT)
    settled = run(press(service.port, reference, 4, asyncio.sleep(2), **load))
    log.warning("an older version's last answer came %.2f s after a promotion's", phase.slowest)
    live = "ray_mynet_model_info"
    assert wait_until(
        lambda: [*by_replica(cluster, live, version="2").values()] == [1, 1], TIMEOUT
    ), "each says so"
    exchanges = phase.exchanges + settled.exchanges
    assert (failed(exchanges), phase.not_swapped) == (0, 0)
    assert distinct_versions.count_mismatches(exchanges, reference) == 0
    assert {exchange.answer["version"] for exchange in phase.exchanges} == {1, 2, 3}
    assert {exchange.answer["version"] for exchange in settled.exchanges} == {2}
