"""Clients that ask again, once and after a while, where they were not answered."""

import asyncio
import time
from contextlib import closing
from typing import NamedTuple

from tests.rigs.load.http_load import Connection, Exchange
from tests.rigs.swaps import distinct_versions

PAUSE = 1.0


class Told(NamedTuple):
    """Each question with its one answer, or with two tries."""

    asked: list[list[Exchange]]

    @property
    def repeated(self):
        return [tries for tries in self.asked if len(tries) > 1]

    @property
    def lost(self):
        return [tries for tries in self.asked if tries[-1].reply.status != 200]

    def mistaken(self, known):
        return distinct_versions.count_mismatches([each for tries in self.asked for each in tries], known)


async def insist(port, known, connections, meanwhile, *, every=0.0, key=None):
    """Ask over kept connections until what is done meanwhile has ended; each of them pauses for
    `every` seconds between two questions.
    """
    ended, asked = asyncio.Event(), []

    async def ask():
        with closing(Connection(port, key)) as connection:
            while not ended.is_set():
                tries = []
                asked.append(tries)
                await _tell(connection, known, len(asked) % len(known.uploads), tries)
                await asyncio.sleep(every)

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(ask())
        try:
            await meanwhile
        finally:
            ended.set()
    return Told(asked)


async def _tell(connection, known, upload, tries):
    while len(tries) < 2:
        sent = time.monotonic()
        reply = await connection.ask("POST", "/predict", known.uploads[upload])
        tries.append(Exchange(upload, sent, sent, time.monotonic(), reply))
        if reply.status == 200:
            return
        connection.close()
        await asyncio.sleep(PAUSE)
