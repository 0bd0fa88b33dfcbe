"""Load on `/predict`: raw HTTP/1.1 on asyncio, light enough to share the service's cores.

Answers are judged after the load has ended. A latency counts from when its request was due, so it
includes the time that a request waits behind a slow answer.
"""

import asyncio
import gc
import json
import re
import selectors
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import closing
from math import ceil
from typing import Any, Final, NamedTuple, TypeVar

RESPONSE_TIMEOUT: Final = 120
T = TypeVar("T")


class Reply(NamedTuple):
    """An answer; `status` is 0 if none came."""

    status: int
    body: bytes


class Exchange(NamedTuple):
    """One prediction: which upload, when it was due, sent and answered, and what came back."""

    upload: int
    due: float
    sent: float
    done: float
    reply: Reply

    @property
    def answer(self) -> dict[str, Any]:
        """The body of a successful answer, else an empty one."""
        return json.loads(self.reply.body) if self.reply.status == 200 else {}


class Connection:
    """A persistent connection that reopens if it breaks; it sends `key` with each request."""

    def __init__(self, port: int, key: str | None = None) -> None:
        self.port = port
        self._headers = (
            f"Host: localhost\r\nAuthorization: Bearer {key}" if key else "Host: localhost"
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        """Send one request and wait for its answer."""
        try:
            async with asyncio.timeout(RESPONSE_TIMEOUT):
                return await self._ask(method, path, body)
        except (OSError, EOFError) as error:
            self.close()
            return Reply(0, repr(error).encode())

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None

    async def _ask(self, method: str, path: str, body: bytes) -> Reply:
        if self._streams is None or self._streams[0].at_eof():  # closed while it was idle
            self.close()
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        length_line = f"Content-Length: {len(body)}"
        head = f"{method} {path} HTTP/1.1\r\n{self._headers}\r\n{length_line}\r\n\r\n"
        writer.write(head.encode() + body)
        response_head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", response_head)
        body = await reader.readexactly(int(length[1])) if length else b""  # a 204 has none
        return Reply(int(response_head.split()[1]), body)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a load to its end."""
    gc.freeze()  # torch's objects are many: to search them for garbage would delay the load
    try:
        with asyncio.Runner(loop_factory=_precise_loop) as runner:
            return runner.run(work)
    finally:
        gc.unfreeze()


def _precise_loop() -> asyncio.AbstractEventLoop:
    # The default selector of Linux waits in whole milliseconds, about as long as an answer takes.
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def steady_due_times(rate: float, seconds: float) -> Iterator[float]:
    """Requests are due at a steady rate, however long answers take."""
    started = time.monotonic()
    for number in range(ceil(rate * seconds)):
        yield started + number / rate


def due_times_until(ended: asyncio.Event, interval: float = 0.0) -> Iterator[float]:
    """Requests are due as soon as a connection is free, but `interval` seconds apart at least."""
    due = time.monotonic()
    while not ended.is_set():
        yield due
        due = max(due + interval, time.monotonic())


async def load(
    port: int,
    uploads: Sequence[bytes],
    due_times: Iterator[float],
    connections: int,
    *,
    keep_alive: bool = True,
) -> list[Exchange]:
    """Send the uploads in turn, each when it is due, over as many connections, kept or not."""
    exchanges: list[Exchange] = []
    numbered = enumerate(due_times)

    async def send() -> None:
        with closing(Connection(port)) as connection:
            for number, due in numbered:
                await asyncio.sleep(due - time.monotonic())
                upload, sent = number % len(uploads), time.monotonic()
                reply = await connection.ask("POST", "/predict", uploads[upload])
                exchanges.append(Exchange(upload, due, sent, time.monotonic(), reply))
                if not keep_alive:
                    connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(send())
    return exchanges


def failed(exchanges: Sequence[Exchange]) -> int:
    """Count the requests that were not answered, or refused."""
    return sum(exchange.reply.status != 200 for exchange in exchanges)


def percentile(exchanges: Sequence[Exchange], percent: float) -> float:
    """Return the latency, in milliseconds, that so many percent of the requests kept within."""
    latencies = sorted(1000 * (exchange.done - exchange.due) for exchange in exchanges)
    return latencies[ceil(percent / 100 * len(latencies)) - 1]
