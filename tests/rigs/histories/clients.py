"""Clients that ask all services at once; each has a connection of its own to each of them."""

import asyncio
import time
from collections.abc import Sequence
from itertools import count
from typing import Final

from tests.rigs.histories.answers import Exchange
from tests.rigs.histories.requests import Request
from tests.rigs.load.http_load import Connection

_connection_numbers: Final = count(1)


class NumberedConnection:
    """A connection to a service. One process answers it, so a new one has a new number."""

    def __init__(self, port: int) -> None:
        self.connection = Connection(port)
        self.number = next(_connection_numbers)

    async def exchange(
        self, client: int, request: Request, image: bytes, weights: bytes
    ) -> Exchange:
        """Send a request, and return it with its answer."""
        message, call = request.message(image, weights), time.monotonic()
        reply = await self.connection.ask(*message)
        exchange = Exchange(request, reply, call, time.monotonic(), client, self.number)
        if not reply.status:  # it broke
            self.number = next(_connection_numbers)
        return exchange

    def close(self) -> None:
        self.connection.close()


async def run_clients(
    clients: Sequence[Sequence[Request]], ports: Sequence[int], image: bytes, weights: bytes
) -> list[Exchange]:
    """Send the requests of all clients at once, those of each in their order."""
    exchanges: list[Exchange] = []

    async def run(client: int, requests: Sequence[Request]) -> None:
        connections = [NumberedConnection(port) for port in ports]
        try:
            for request in requests:
                await asyncio.sleep(request.pause)
                connection = connections[request.service]
                exchanges.append(await connection.exchange(client, request, image, weights))
        finally:
            for connection in connections:
                connection.close()

    async with asyncio.TaskGroup() as group:
        for client, requests in enumerate(clients):
            group.create_task(run(client, requests))
    return exchanges
