"""Clients that ask again, once and after a while, where they were not answered."""

import asyncio
import time
from contextlib import closing
from typing import NamedTuple

from tests.rigs.load.http_load import Connection, Exchange
from tests.rigs.swaps import distinct_versions

RETRY_DELAY = 1.0


class RequestLog(NamedTuple):
    """Each question with its one answer, or with two tries."""

    requests: list[list[Exchange]]

    @property
    def repeated(self):
        return [tries for tries in self.requests if len(tries) > 1]

    @property
    def lost(self):
        return [tries for tries in self.requests if tries[-1].reply.status != 200]

    def count_mismatches(self, reference):
        return distinct_versions.count_mismatches(
            [exchange for tries in self.requests for exchange in tries], reference
        )


async def send_with_retries(port, reference, connections, action, *, interval=0.0, key=None):
    """Send requests over persistent connections until `action` has ended.

    Each connection pauses for `interval` seconds between two requests.
    """
    ended, requests = asyncio.Event(), []

    async def ask():
        with closing(Connection(port, key)) as connection:
            while not ended.is_set():
                tries = []
                requests.append(tries)
                await _send(connection, reference, len(requests) % len(reference.uploads), tries)
                await asyncio.sleep(interval)

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(ask())
        try:
            await action
        finally:
            ended.set()
    return RequestLog(requests)


async def _send(connection, reference, upload, tries):
    while len(tries) < 2:
        sent_at = time.monotonic()
        reply = await connection.ask("POST", "/predict", reference.uploads[upload])
        tries.append(Exchange(upload, sent_at, sent_at, time.monotonic(), reply))
        if reply.status == 200:
            return
        connection.close()
        await asyncio.sleep(RETRY_DELAY)
