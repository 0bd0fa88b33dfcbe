"""Open-loop load: requests are sent when they are due, however slow the answers are.

A latency counts from when the request was due. The load runs in its own process, on raw sockets,
each request over a connection that waits for no other answer.
"""

import selectors
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import cycle
from math import ceil
from multiprocessing import get_context
from typing import Any, Final, NamedTuple, TypeVar

from app.server.timeouts import max_connections
from tests.rigs.load.closed_loop import DIGIT, NO_ANSWER, Connection, Request

RESPONSE_TIMEOUT: Final = 60.0
# To accept a connection takes the service longer than to refuse a request.
CONNECTIONS: Final = 500
T = TypeVar("T")


class TimedResponse(NamedTuple):
    """An answer: its status, 0 for none, and whether its digit is right.

    All are in seconds: `latency` since the request was due, `wait` since it was sent, `arrived_at`
    since the load began.
    """

    status: int
    latency: float
    is_correct: bool
    arrived_at: float
    wait: float


class Flooded(NamedTuple):
    """All answers of a flood, and when its last request was sent, by `time.perf_counter`."""

    answers: list[TimedResponse]
    ended: float

    def latencies(self, status: int) -> list[float]:
        """List how long the answers of one status took, shortest first."""
        return sorted(answer.latency for answer in self.answers if answer.status == status)

    def per_second(self, status: int) -> list[int]:
        """Count the answers of one status in each whole second, except the first and the last."""
        counts = Counter(
            int(answer.arrived_at) for answer in self.answers if answer.status == status
        )
        return [counts[second] for second in range(1, max(counts, default=0))]

    @property
    def wrong(self) -> int:
        return sum(answer.status == 200 and not answer.is_correct for answer in self.answers)

    @property
    def unclassified(self) -> int:
        """Count what was neither answered, in time or too late, nor refused as busy."""
        return sum(answer.status not in (200, 429, 504) for answer in self.answers)


def percentile(ranked: Sequence[float], percent: float) -> float:
    """Return what so many percent kept within."""
    return ranked[ceil(percent / 100 * len(ranked)) - 1] if ranked else float("nan")


def flood(port: int, requests: Sequence[Request], rate: float, seconds: float) -> Flooded:
    """Send at a steady rate, then wait until all is answered."""
    max_connections()  # as many as the system allows
    return _Flood(port).run(requests, rate, seconds)


def begin(work: Callable[..., T], *args: Any) -> Future[T]:
    """Flood, or flood and more, from a process of its own."""
    executor = ProcessPoolExecutor(1, get_context("spawn"))
    future = executor.submit(work, *args)
    executor.shutdown(wait=False)
    return future


class _Flood:
    def __init__(self, port: int) -> None:
        self.port = port
        self.idle: list[Connection] = []
        self.due: dict[Connection, float] = {}
        self.selector = selectors.DefaultSelector()
        self.answers: list[TimedResponse] = []
        self.began = time.perf_counter()

    def run(self, requests: Sequence[Request], rate: float, seconds: float) -> Flooded:
        for number, request in zip(range(ceil(rate * seconds)), cycle(requests), strict=False):
            due = self.began + number / rate
            self._receive_until(due)
            self._send(request, due)
        ended = time.perf_counter()
        while self.due and time.perf_counter() < ended + RESPONSE_TIMEOUT:
            self._receive(0.01)
        for connection in [*self.due, *self.idle]:
            self._close(connection)
        self.selector.close()
        return Flooded(self.answers, ended)

    def _send(self, request: Request, due: float) -> None:
        if self.idle:
            connection = self.idle.pop()
        else:
            connection = Connection(self.port)
            self.selector.register(connection.socket, selectors.EVENT_READ, connection)
        self.due[connection] = due
        try:
            connection.send(request)
        except OSError:
            self._close(connection)

    def _receive_until(self, due: float) -> None:
        """Wait for the time, and for a connection."""
        remaining = due - time.perf_counter()
        self._receive(max(0, remaining))
        while remaining > 0 or len(self.due) >= CONNECTIONS:
            remaining = due - time.perf_counter()
            self._receive(max(0, remaining, 0.001 * (len(self.due) >= CONNECTIONS)))

    def _receive(self, seconds: float) -> None:
        for key, _ in self.selector.select(seconds):
            connection: Connection = key.data
            try:
                is_complete = connection.is_answered()
            except OSError:
                self._close(connection)
                continue
            if is_complete:
                self.idle.append(connection)
                self._record(connection, connection.status)

    def _close(self, connection: Connection) -> None:
        """Handle a connection that the service closed, which it may do if no request is pending."""
        self.selector.unregister(connection.socket)
        connection.socket.close()
        if connection in self.due:
            self._record(connection, NO_ANSWER)
        else:
            self.idle.remove(connection)

    def _record(self, connection: Connection, status: int) -> None:
        now = time.perf_counter()
        latency = now - self.due.pop(connection)
        digit = DIGIT.search(connection.received) if status == 200 else None
        is_correct = digit is not None and int(digit[1]) == connection.request.digit
        wait = now - connection.sent_at
        self.answers.append(TimedResponse(status, latency, is_correct, now - self.began, wait))
