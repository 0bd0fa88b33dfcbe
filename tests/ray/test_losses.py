"""Loss of a serving node: without notice, or by a drain."""

import asyncio
import logging
import time

from tests.ray.rigs.cluster import REPLICA
from tests.ray.rigs.retrying_load import send_with_retries
from tests.rigs.load.http_load import run
from tests.service.running import TRAINING_TIMEOUT, wait_until

CONNECTIONS = 8
# A proxy that is asked without a pause ends no sooner than Ray's time-out.
REQUEST_INTERVAL = 0.1
TIMEOUT = TRAINING_TIMEOUT
log = logging.getLogger(__name__)


def test_who_asks_again_is_answered(spread_service, cluster, lose, reference):
    replicas_before = set(cluster.replicas())
    node = next(node for node in cluster.nodes if node.running(REPLICA))
    times = []

    async def go_dark():
        await asyncio.sleep(2)
        times.append(time.monotonic())
        await asyncio.to_thread(lose, node)
        times.append(time.monotonic())
        assert await asyncio.to_thread(wait_until, lambda: len(cluster.replicas()) == 2, TIMEOUT)
        times.append(time.monotonic())
        await asyncio.sleep(5)

    load = send_with_retries(
        spread_service.port, reference, CONNECTIONS, go_dark(), interval=REQUEST_INTERVAL
    )
    result = run(load)
    killed, gone, replaced = times
    log.warning(
        f"{len(result.requests)} asked, {len(result.repeated)} of them twice, until "
        f"{max((tries[0].done for tries in result.repeated), default=killed) - gone:.1f} s after "
        f"the node was gone ({gone - killed:.1f} s); another replica began after "
        f"{replaced - gone:.1f} s"
    )
    assert result.lost == []
    assert result.count_mismatches(reference) == 0
    assert len(result.repeated) <= CONNECTIONS, result.repeated
    assert len(set(cluster.replicas()) - replicas_before) == 1, "one took the place of the lost one"


def test_a_node_that_is_told_to_end_is_replaced_first(service, cluster, lose, reference):
    """Drain a node, as Kubernetes ends a pod; connections to its own proxy end with it."""
    node = next(node for node in cluster.nodes if node.running(REPLICA))
    (other,) = (candidate for candidate in cluster.nodes if candidate is not node)
    other_replicas = []

    async def end():
        await asyncio.sleep(2)
        node.process.terminate()
        ended = asyncio.to_thread(wait_until, lambda: node.process.poll() is not None, TIMEOUT)
        assert await ended, "it ends by itself"
        other_replicas.extend(other.running(REPLICA))
        await asyncio.sleep(5)

    result = run(
        send_with_retries(service.port, reference, CONNECTIONS, end(), interval=REQUEST_INTERVAL)
    )
    lose(node)
    assert result.lost == []
    assert result.count_mismatches(reference) == 0
    assert len(result.repeated) <= CONNECTIONS, result.repeated
    assert len(other_replicas) == 2, "others ran by then"
