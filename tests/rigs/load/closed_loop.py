"""Closed-loop load: each connection sends its next request when it has its answer.

A request has the digit that must come back, or None if it is not an image. Every answer is compared
with the last request of its own connection, and counts as good, wrong, refused or missing. One
thread on raw sockets: a request costs it some 20 µs of a core.
"""

import gc
import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, takewhile
from math import ceil
from typing import Final, NamedTuple

RESPONSE_TIMEOUT: Final = 60.0
LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
DIGIT: Final = re.compile(rb'"digit": ?(\d)')
NO_ANSWER: Final = 0


class Request(NamedTuple):
    """The bytes to send, and the digit that the answer must name; None where it is no image."""

    sent: bytes
    digit: int | None


@dataclass
class Pressed:
    """The answers of a load; status 0 means that no answer came."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    wrong: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    bad: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return len(self.latencies) / self.seconds

    @property
    def lost(self) -> int:
        """Images that were not answered with their own digit."""
        return self.wrong + self.refused.total()

    def percentile(self, percent: float) -> float:
        """Return the milliseconds that so many percent of the good answers kept within."""
        ranked = sorted(self.latencies)
        return 1000 * ranked[ceil(percent / 100 * len(ranked)) - 1] if ranked else float("nan")

    def judge(self, request: Request, status: int, content: bytes, latency: float) -> None:
        """Count one answer."""
        if request.digit is None:
            self.bad[status] += 1
        elif status != 200:
            self.refused[status] += 1
        elif (match := DIGIT.search(content)) and int(match[1]) == request.digit:
            self.latencies.append(latency)
        else:
            self.wrong += 1


class Connection:
    """One kept connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), RESPONSE_TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = Request(b"", None)
        self.sent_at = 0.0
        self.received = b""
        self.expected_bytes = 0

    def send(self, request: Request) -> None:
        self.request, self.received, self.expected_bytes = request, b"", 0
        self.sent_at = time.perf_counter()
        self.socket.sendall(request.sent)

    def is_answered(self) -> bool:
        """Receive what is there; raises ConnectionError where the service hung up."""
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the service hung up")
        self.received += part
        if not self.expected_bytes and (end := self.received.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.received, 0, end + 2)
            self.expected_bytes = end + 4 + (int(length[1]) if length else 0)
        return 0 < self.expected_bytes <= len(self.received)

    @property
    def status(self) -> int:
        return int(self.received[9:12])


class Press:
    """Connections to one service, and what came back over them."""

    def __init__(self, port: int, requests: Iterable[Request]) -> None:
        self.port, self.requests = port, iter(requests)
        self.pressed = Pressed()
        self.selector = selectors.DefaultSelector()

    def run(self, connections: int) -> Pressed:
        """Press until all is answered."""
        started = time.perf_counter()
        for _ in range(connections):
            self._open()
        while self.selector.get_map():
            ready = self.selector.select(RESPONSE_TIMEOUT)
            for key, _ in ready:
                self._receive(key.data)
            if not ready:
                for key in list(self.selector.get_map().values()):
                    self._break(key.data)
        self.pressed.seconds = time.perf_counter() - started
        self.selector.close()
        return self.pressed

    def _open(self) -> None:
        """Open a connection, and send over it; what cannot be sent counts as not answered."""
        for request in self.requests:
            with suppress(OSError):
                connection = Connection(self.port)
                connection.send(request)
                self.selector.register(connection.socket, selectors.EVENT_READ, connection)
                return
            self.pressed.judge(request, NO_ANSWER, b"", 0)

    def _receive(self, connection: Connection) -> None:
        try:
            if not connection.is_answered():
                return
        except OSError:
            return self._break(connection)
        latency = time.perf_counter() - connection.sent_at
        self.pressed.judge(connection.request, connection.status, connection.received, latency)
        if (request := next(self.requests, None)) is None:
            return self._close(connection)
        try:
            connection.send(request)
        except OSError:
            self._break(connection)

    def _break(self, connection: Connection) -> None:
        """Count a request that has no answer, and go on over a new connection."""
        self.pressed.judge(connection.request, NO_ANSWER, b"", 0)
        self._close(connection)
        self._open()

    def _close(self, connection: Connection) -> None:
        self.selector.unregister(connection.socket)
        connection.socket.close()


def press(port: int, requests: Iterable[Request], connections: int, seconds: float) -> Pressed:
    """Send the requests in turn, over and over; what was sent in time is waited for, and counts."""
    deadline = time.perf_counter() + seconds
    in_time = takewhile(lambda _: time.perf_counter() < deadline, cycle(requests))
    return press_all(port, in_time, connections)


def paced(requests: Iterable[Request], rate: float) -> Iterator[Request]:
    """Yield at most `rate` requests a second, for a load that leaves the cores to other work."""
    for request in requests:
        time.sleep(1 / rate)
        yield request


def press_all(port: int, requests: Iterable[Request], connections: int) -> Pressed:
    """Send each of the requests once, and wait for its answer."""
    with _no_garbage():
        return Press(port, requests).run(connections)


@contextmanager
def _no_garbage() -> Iterator[None]:
    gc.freeze()  # torch's objects are many: to search them for garbage would delay the load
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
