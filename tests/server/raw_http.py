"""Raw HTTP exchanges over a socket, for requests that no HTTP client would send."""

import json
from contextlib import suppress
from typing import Any, NamedTuple

import httpx2

from tests.served import open_socket

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


class RawResponse(NamedTuple):
    """One response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Any:
        """Return the problem details, after a check of what every rejection has."""
        problem = json.loads(self.body)
        assert self.headers["content-type"] == "application/problem+json"
        assert self.headers["connection"] == "close"
        assert self.headers["x-request-id"] == problem["request_id"]
        assert problem["status"] == self.status
        return problem


def exchange(client: httpx2.Client, data: bytes) -> list[RawResponse]:
    """Send `data` on a new connection, and return every response until the server closes it.

    Raises TimeoutError if it stays open.
    """
    with open_socket(client) as connection:
        with suppress(ConnectionError):  # who refuses it may close before all was sent
            connection.sendall(data)
        received = b""
        with suppress(ConnectionError):
            while part := connection.recv(2**20):
                received += part
    return list(_responses(received))


def _responses(received: bytes) -> Any:
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(headers.get("content-length", len(rest)))
        assert len(rest) >= length, received
        yield RawResponse(int(status_line.split()[1]), headers, rest[:length])
        received = rest[length:]
