"""Fast path of the HTTP protocol: a complete request, answered without ASGI in one write.

Programs send the same head over and over: only the length of the body differs. `KnownHeads`
remembers the heads that the parser has read: the same bytes mean the same again, and parsing them
takes a fifth of the time of a whole answer.
"""

import asyncio
import time
import typing
from collections.abc import Callable
from typing import Final, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.server.raw_response import NOSNIFF_LINE, Header, serialize_response

if typing.TYPE_CHECKING:
    from app.server.protocol import Protocol

Headers = list[Header]
HEAD_END: Final = b"\r\n\r\n"
MAX_HEADS: Final = 1024
MAX_KNOWN_HEAD_BYTES: Final = 512
OK_LINES: Final = STATUS_LINE[200] + NOSNIFF_LINE


class FastHandler(NamedTuple):
    """Starts the response to a complete request.

    `begin` returns False if the request must go to the app. `wants_body` says whether it needs the
    body. `is_constant` says whether a request with the same headers gets the same handler.
    """

    begin: Callable[["FastCycle"], bool]
    wants_body: bool
    is_constant: bool = False


class FastPath(typing.Protocol):
    """Answers some requests without ASGI."""

    heads: "KnownHeads"

    def match(self, method: bytes, target: bytes, headers: Headers) -> FastHandler | None:
        """Return a handler if this path may answer a request with these headers, else None."""


class KnownHead(NamedTuple):
    """The headers of a request, its handler, and the length of its body."""

    headers: Headers
    handler: FastHandler
    body_size: int


class KnownHeads:
    """Heads of requests that the parser has read, and what came of them."""

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}

    def find(self, data: bytes) -> tuple[KnownHead, bytes] | None:
        """Return the head and the body if the data is one whole request with a known head."""
        end = data.find(HEAD_END, 0, MAX_KNOWN_HEAD_BYTES) + len(HEAD_END)
        head = self._heads.get(data[:end])
        if head is None or len(data) != end + head.body_size:
            return None
        return head, data[end:]

    def add(self, data: bytes, cycle: "FastCycle") -> None:
        """Remember the head of a request that the parser read from this data, and nothing else.

        The first empty line must end the head for the parser too.
        """
        end = len(data) - len(cycle.body)
        if end <= MAX_KNOWN_HEAD_BYTES and data.find(HEAD_END) + len(HEAD_END) == end:
            if len(self._heads) == MAX_HEADS:
                self._heads.clear()
            self._heads[data[:end]] = KnownHead(cycle.headers, cycle.handler, len(cycle.body))


class DefaultLines:
    """The lines of the headers of every response, which uvicorn replaces once a second."""

    def __init__(self) -> None:
        self._headers: Headers = []
        self._lines = b""

    def of(self, headers: Headers) -> bytes:
        """Return the headers as lines."""
        if headers is not self._headers:
            self._headers = headers
            self._lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        return self._lines


_default_lines = DefaultLines()


class FastCycle:
    """A complete request on the fast path, answered by one call of `respond`.

    It takes the place of uvicorn's RequestResponseCycle and has the attributes that uvicorn reads.
    """

    disconnected = response_started = response_complete = False
    keep_alive = True
    message_event = asyncio.Event()  # uvicorn sets it; no task waits for it

    def __init__(
        self, connection: "Protocol", headers: Headers, handler: FastHandler, body: bytes = b""
    ) -> None:
        self.connection, self.headers, self.handler, self.body = connection, headers, handler, body
        self.started = time.perf_counter()
        self.is_cancelled = connection.transport.is_closing  # whether the client disconnected

    @property
    def address(self) -> str:
        """Return the client's address."""
        client = self.connection.client
        return client[0] if client else ""

    def respond(self, status: int, headers: Headers, content: bytes) -> None:
        """Send the response, unless the client disconnected."""
        all_headers = (*self.connection.server_state.default_headers, *headers)
        self._send(serialize_response(status, all_headers, content, is_last=not self.keep_alive))

    def respond_ok(self, head: bytes, content: bytes) -> None:
        """Send a response with status 200, unless the client disconnected.

        `head` is the lines of its headers, without the default ones.
        """
        default = _default_lines.of(self.connection.server_state.default_headers)
        close = b"" if self.keep_alive else b"connection: close\r\n"
        self._send(b"%b%b%b%b\r\n%b" % (OK_LINES, default, head, close, content))

    def _send(self, response: bytes) -> None:
        connection = self.connection
        self.response_complete = True
        if not self.is_cancelled():
            connection.transport.write(response)
            if not self.keep_alive:
                connection.transport.close()
        connection.on_response_complete()
