"""Pressing load: each connection sends its next request as soon as it has its answer.

What enters: ready-made HTTP/1.1 requests, each with the digit that must come back. What leaves:
latencies, and how many answers were wrong, refused or missing. One thread on raw sockets: it takes
about a tenth of a core at a thousand requests a second, so that what is measured is the service.
This module does not know which service answers.
"""

import gc
import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from math import ceil
from typing import Final, NamedTuple

PATIENCE: Final = 5.0
LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
DIGIT: Final = re.compile(rb'"digit": ?(\d)')


class Request(NamedTuple):
    """The bytes to send, and the digit that the answer must name; None where it is no image."""

    sent: bytes
    digit: int | None


@dataclass
class Pressed:
    """What came back: seconds of each good answer, and counts of all."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    broken: int = 0

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Give the milliseconds that so many percent of the good answers kept within."""
        return percentile(self.latencies, percent)


def percentile(seconds: Sequence[float], percent: float) -> float:
    ranked = sorted(seconds)
    return 1000 * ranked[ceil(percent / 100 * len(ranked)) - 1] if ranked else float("nan")


class Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(PATIENCE)
        self.request = Request(b"", None)
        self.sent_at = 0.0
        self.came = b""
        self.needed = 0

    def send(self, request: Request) -> None:
        self.request, self.came, self.needed = request, b"", 0
        self.sent_at = time.perf_counter()
        self.socket.sendall(request.sent)

    def is_answered(self) -> bool:
        """Receive what is there; raises ConnectionError where the service hung up."""
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the service hung up")
        self.came += part
        if not self.needed and (end := self.came.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.came, 0, end)
            self.needed = end + 4 + (int(length[1]) if length else 0)
        return 0 < self.needed <= len(self.came)


def press(port: int, requests: Sequence[Request], connections: int, seconds: float) -> Pressed:
    """Press for some seconds; answers that come after them do not count."""
    gc.freeze()
    gc.disable()
    try:
        return _press(port, cycle(requests), connections, seconds)
    finally:
        gc.enable()
        gc.unfreeze()


def _press(port: int, requests: Iterator[Request], connections: int, seconds: float) -> Pressed:
    pressed = Pressed(seconds)
    selector = selectors.DefaultSelector()
    opened = [Connection(port) for _ in range(connections)]
    for each in opened:
        selector.register(each.socket, selectors.EVENT_READ, each)
    ends = time.perf_counter() + seconds
    for each in opened:
        each.send(next(requests))
    while time.perf_counter() < ends:
        for key, _ in selector.select(PATIENCE):
            each = key.data
            try:
                if each.is_answered():
                    _judge(pressed, each, time.perf_counter() - each.sent_at)
                    each.send(next(requests))
            except OSError:
                pressed.broken += 1
                selector.unregister(each.socket)
                each.socket.close()
    selector.close()
    for each in opened:
        each.socket.close()
    return pressed


def _judge(pressed: Pressed, connection: Connection, took: float) -> None:
    status = int(connection.came[9:12])
    pressed.statuses[status] += 1
    if status != 200:
        pressed.refusals.append(took)
        pressed.wrong += connection.request.digit is not None and status not in (429, 503)
        return
    found = DIGIT.search(connection.came)
    pressed.latencies.append(took)
    pressed.wrong += found is None or int(found[1]) != connection.request.digit
