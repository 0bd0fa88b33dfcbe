"""Promotions and rollbacks under load, and late answers of a version that is not live any more.

The service starts with version 1 live. Answers are judged after the load has ended.
"""

import asyncio
import json
import time
from bisect import bisect
from collections.abc import Coroutine, Iterator
from contextlib import closing
from itertools import cycle, islice
from operator import attrgetter
from typing import Any, Final, NamedTuple

from tests.rigs.load.http_load import Connection, Exchange, due_times_until, load
from tests.rigs.swaps.distinct_versions import ReferenceAnswers

# From 1 to 2, to 3, back to 2, to 1: `None` rolls back.
CHANGES: Final = ((2, 2), (3, 3), (None, 2), (1, 1))


class Swap(NamedTuple):
    """A swap: the times of request and answer, the version requested and the one in the answer."""

    requested_at: float
    answered_at: float
    expected_version: int
    version: int | None


INITIAL_SWAP: Final = Swap(float("-inf"), float("-inf"), 1, 1)


class Phase(NamedTuple):
    """The exchanges of a load, and the swaps during it."""

    exchanges: list[Exchange]
    swaps: list[Swap]

    @property
    def not_swapped(self) -> int:
        """Count the swaps that failed, or told of another version than the wanted one."""
        return sum(change.version != change.expected_version for change in self.swaps)

    @property
    def out_of_date(self) -> int:
        """Count the answers of a version that was not live any more when they were asked for."""
        return len(list(self._outlived("sent")))

    @property
    def slowest(self) -> float:
        """Return the longest time, in seconds, for which a version went on to answer."""
        return max(self._outlived("done"), default=0.0)

    def _outlived(self, field: str) -> Iterator[float]:
        """Yield, for each answer of none of the versions live since then, how late it came."""
        moment, swaps = attrgetter(field), [INITIAL_SWAP, *self.swaps]
        request_times, answer_times = ([change[column] for change in swaps] for column in (0, 1))
        for exchange in self.exchanges:
            newest = bisect(answer_times, moment(exchange)) - 1
            live = {swap.version for swap in swaps[newest : bisect(request_times, exchange.done)]}
            if exchange.answer and exchange.answer["version"] not in live:
                yield exchange.done - answer_times[newest]


async def swap(port: int, number: int, interval: float) -> list[Swap]:
    """Swap and roll back, with a pause after each."""
    swaps = []
    with closing(Connection(port)) as connection:
        for version, expected_version in islice(cycle(CHANGES), number):
            requested_at = time.monotonic()
            if version is None:
                reply = await connection.ask("POST", "/models/rollback")
            else:
                body = json.dumps({"version": version}).encode()
                reply = await connection.ask("PUT", "/models/current", body)
            live_version = json.loads(reply.body)["version"] if reply.status == 200 else None
            swaps.append(Swap(requested_at, time.monotonic(), expected_version, live_version))
            await asyncio.sleep(interval)
    return swaps


async def press(
    port: int,
    reference: ReferenceAnswers,
    connections: int,
    action: Coroutine[Any, Any, list[Swap] | None],
    *,
    keep_alive: bool = True,
    interval: float = 0.0,
) -> Phase:
    """Send load until `action` has ended: requests that are due `interval` seconds apart."""
    ended = asyncio.Event()
    due_times = due_times_until(ended, interval)
    loading = load(port, reference.uploads, due_times, connections, keep_alive=keep_alive)
    async with asyncio.TaskGroup() as group:
        exchanges = group.create_task(loading)
        swaps = await action
        ended.set()
    return Phase(exchanges.result(), swaps or [])
