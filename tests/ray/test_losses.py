"""A node that goes dark while it serves, or is told to end."""

import asyncio
import logging
import time

from tests.ray.cluster import REPLICA
from tests.ray.insisting import insist
from tests.rigs.load.http_load import run
from tests.service.running import wait_until

CONNECTIONS = 8
EVERY = 0.1  # a proxy that is asked without a pause ends no sooner than Ray's time-out
SOON = 240
log = logging.getLogger(__name__)


def test_who_asks_again_is_answered(spread_service, cluster, lose, known):
    there = set(cluster.replicas())
    node = next(node for node in cluster.nodes if node.running(REPLICA))
    when = []

    async def go_dark():
        await asyncio.sleep(2)
        when.append(time.monotonic())
        await asyncio.to_thread(lose, node)
        when.append(time.monotonic())
        assert await asyncio.to_thread(wait_until, lambda: len(cluster.replicas()) == 2, SOON)
        when.append(time.monotonic())
        await asyncio.sleep(5)

    told = run(insist(spread_service.port, known, CONNECTIONS, go_dark()))
    killed, gone, replaced = when
    log.warning(
        f"{len(told.asked)} asked, {len(told.repeated)} of them twice, until "
        f"{max((tries[0].done for tries in told.repeated), default=killed) - gone:.1f} s after "
        f"the node was gone ({gone - killed:.1f} s); another replica began after "
        f"{replaced - gone:.1f} s"
    )
    assert told.lost == []
    assert told.mistaken(known) == 0
    assert len(told.repeated) <= CONNECTIONS, told.repeated
    assert len(set(cluster.replicas()) - there) == 1, "one took the place of the lost one"


def test_a_node_that_is_told_to_end_is_replaced_first(service, cluster, lose, known):
    """As Kubernetes ends a pod. Connections to its own proxy end with it."""
    node = next(node for node in cluster.nodes if node.running(REPLICA))
    (other,) = (each for each in cluster.nodes if each is not node)
    there = []

    async def end():
        await asyncio.sleep(2)
        node.process.terminate()
        ended = asyncio.to_thread(wait_until, lambda: node.process.poll() is not None, SOON)
        assert await ended, "it ends by itself"
        there.extend(other.running(REPLICA))
        await asyncio.sleep(5)

    told = run(insist(service.port, known, CONNECTIONS, end(), every=EVERY))
    lose(node)
    assert told.lost == []
    assert told.mistaken(known) == 0
    assert len(told.repeated) <= CONNECTIONS, told.repeated
    assert len(there) == 2, "others ran by then"
