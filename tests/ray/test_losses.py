"""A node that goes dark while it serves, or is told to end."""

import asyncio
import logging
import time

from bench import lookalikes
from bench.load import run
from tests.ray.cluster import REPLICA, clustered, serving
from tests.ray.insisting import insist
from tests.service.running import comes_true

CONNECTIONS = 8
SOON = 240
log = logging.getLogger(__name__)


def test_who_asks_again_is_answered(tmp_path):
    state = tmp_path / "state"
    known = lookalikes.make(state)
    with (
        clustered(tmp_path, 3, 3) as cluster,
        serving(cluster, state, workers=2, train_threads=1, predict_timeout=30) as service,
    ):
        there = set(cluster.replicas())
        node = next(node for node in cluster.nodes if node.running(REPLICA))
        when = []

        async def lose():
            await asyncio.sleep(2)
            when.append(time.monotonic())
            cluster.nodes.remove(node)
            await asyncio.to_thread(node.kill)
            when.append(time.monotonic())
            assert await asyncio.to_thread(comes_true, lambda: len(cluster.replicas()) == 2, SOON)
            when.append(time.monotonic())
            await asyncio.sleep(5)

        told = run(insist(service.port, known, CONNECTIONS, lose()))
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


def test_a_node_that_is_told_to_end_is_replaced_first(tmp_path):
    """As Kubernetes ends a pod. Connections to its own proxy end with it."""
    state = tmp_path / "state"
    known = lookalikes.make(state)
    with (
        clustered(tmp_path, 3, 3) as cluster,
        serving(cluster, state, workers=2, train_threads=1, predict_timeout=30) as service,
    ):
        node = next(node for node in cluster.nodes if node.running(REPLICA))
        (other,) = (each for each in cluster.nodes if each is not node)
        there = []

        async def end():
            await asyncio.sleep(2)
            node.process.terminate()
            ended = asyncio.to_thread(comes_true, lambda: node.process.poll() is not None, SOON)
            assert await ended, "it ends by itself"
            there.extend(other.running(REPLICA))
            await asyncio.sleep(5)

        told = run(insist(service.port, known, CONNECTIONS, end()))
    assert told.lost == []
    assert told.mistaken(known) == 0
    assert len(told.repeated) <= CONNECTIONS, told.repeated
    assert len(there) == 2, "another one ran by then"
