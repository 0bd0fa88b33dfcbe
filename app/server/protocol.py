"""HTTP/1.1 protocol: uvicorn's, with flow control for pipelined requests and a fast path."""

import asyncio
import socket
import time
import typing
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import httptools

from app.errors import MalformedRequest, ServiceError
from app.server.flow_control import CHUNK_BYTES, PipelineFlowControl
from app.server.raw_response import serialize_response
from app.server.request_head import check_head
from app.server.shutdown import Shutdown
from app.server.timeouts import TimeoutProtocol
from app.server.unchunked import UnchunkedCycle

CLIENT: Final = "mynet.client"
MAX_HEAD_BYTES: Final = 64 * 1024
Headers = list[tuple[bytes, bytes]]


class FastHandler(NamedTuple):
    """Starts the response to a complete request.

    `begin` returns False if the request must go to the app. `wants_body` says whether it needs the
    body.
    """

    begin: Callable[["FastCycle"], bool]
    wants_body: bool


class FastPath(typing.Protocol):
    """Answers some requests without ASGI."""

    def match(self, method: bytes, target: bytes, headers: Headers) -> FastHandler | None:
        """Return a handler if this path may answer a request with these headers, else None."""


class FastCycle:
    """A complete request on the fast path, answered by one call of `respond`.

    It takes the place of uvicorn's RequestResponseCycle and has the attributes that uvicorn reads.
    """

    disconnected = response_started = response_complete = False
    keep_alive = True
    message_event = asyncio.Event()  # uvicorn sets it; no task waits for it

    def __init__(self, connection: "Protocol", headers: Headers, handler: FastHandler) -> None:
        self.connection, self.headers, self.handler = connection, headers, handler
        self.body = b""
        self.started = time.perf_counter()

    @property
    def address(self) -> str:
        """Return the client's address."""
        client = self.connection.client
        return client[0] if client else ""

    def is_cancelled(self) -> bool:
        """Return whether the client disconnected."""
        return self.connection.transport.is_closing()

    def respond(self, status: int, headers: Headers, content: bytes) -> None:
        """Send the response, unless the client disconnected."""
        connection = self.connection
        self.response_complete = True
        if not self.is_cancelled():
            all_headers = (*connection.server_state.default_headers, *headers)
            response = serialize_response(status, all_headers, content, is_last=not self.keep_alive)
            connection.transport.write(response)
            if not self.keep_alive:
                connection.transport.close()
        connection.on_response_complete()


class Protocol(TimeoutProtocol):
    """Bounds headers, ignores trailers, and ignores requests to upgrade the connection.

    RFC 9110 (6.5.1, 7.8) allows both. httptools stops after the headers of a request to upgrade,
    which Java's HttpClient sends by default. Its body would be lost, and a training job would start
    with default values.
    """

    parser: Any
    flow: PipelineFlowControl
    head_size = 0  # bytes of the headers, or received since the last chunk of the body
    fast_cycle: FastCycle | None = None  # the request whose body is arriving

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = PipelineFlowControl(transport, self.pipeline)
        connection = transport.get_extra_info("socket")
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            # Not set by default if several workers share a socket. The second half of a response
            # would wait 40 ms for the client to acknowledge the first.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self.rejection is not None:
            return  # what follows an invalid request has no meaning
        self.received += len(data)
        self.flow.unread += data
        self._read()

    def on_response_complete(self) -> None:
        if self.rejection is not None and not self.pipeline:
            self.send_rejection()
        super().on_response_complete()
        shutdown: Shutdown | None = self.app_state.get("ending")
        if shutdown is not None and shutdown.listeners_closed:
            self.transport.close()  # it opened while uvicorn closed the other connections
        elif self.flow.unread:
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._read()
        self.flow.resume_reading()

    def _read(self) -> None:
        for chunk in self.flow.chunks():
            if self.transport.is_closing():
                self.flow.unread = b""
                return
            self._unset_keepalive_if_required()
            self._parse(chunk)
        if self.receiving:
            self.start_read_timer()

    def _parse(self, data: bytes) -> None:
        while data:
            size = min(CHUNK_BYTES, MAX_HEAD_BYTES - self.head_size)
            if not size:
                self._reject(
                    MalformedRequest(
                        f"The headers or trailers are larger than {MAX_HEAD_BYTES} bytes. "
                        "Send fewer."
                    )
                )
                return
            received, data = data[:size], data[size:]
            try:
                self.parser.feed_data(received)
            except httptools.HttpParserUpgrade as stopped:
                data = self._strip_upgrade(received[stopped.args[0] :]) + data
                self.head_size = 0
                continue
            except httptools.HttpParserError as error:
                self._reject(_rejection_of(error))
                return
            # What came before a head in the same chunk counts too: the parser gives no positions.
            self.head_size = self.head_size + len(received) if self.receiving else 0

    def on_message_begin(self) -> None:
        self.head_size = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise MalformedRequest("CONNECT is not supported: this service is not a proxy.")
            return
        version = self.parser.get_http_version()
        check_head(version, self.headers)
        if handler := self._match_fast_path(version):
            self.cycle = self.fast_cycle = FastCycle(self, self.headers, handler)
        else:
            self._begin()
        self.in_head, self.head_size = False, 0

    def _match_fast_path(self, version: str) -> FastHandler | None:
        """Return a fast handler, for clients with one request at a time that read responses."""
        fast_path: FastPath | None = self.app_state.get("express")
        if (
            fast_path is not None
            and (self.cycle is None or self.cycle.response_complete)
            and not (self.flow.write_paused or self.expect_100_continue)
            and version == "1.1"
            and self.parser.should_keep_alive()
        ):
            return fast_path.match(self.parser.get_method(), self.url, self.headers)
        return None

    def _begin(self) -> None:
        super().on_headers_complete()
        address = self.client[0] if self.client else ""
        self.scope["extensions"] = {
            CLIENT: {"is_gone": self.transport.is_closing, "address": address}
        }
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = UnchunkedCycle  # uvicorn does not let us choose the class

    def on_body(self, body: bytes) -> None:
        self.head_size = 0
        if self.fast_cycle is None:
            super().on_body(body)
        elif self.fast_cycle.handler.wants_body:
            self.fast_cycle.body += body

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self.stop_read_timer()
        fast_cycle, self.fast_cycle = self.fast_cycle, None
        if fast_cycle is not None:
            if fast_cycle.handler.begin(fast_cycle):
                return
            self._fall_back_to_asgi(fast_cycle)
        super().on_message_complete()
        # A large body had paused reading, and a paused transport does not notice a disconnect.
        self.flow.resume_reading()

    def _fall_back_to_asgi(self, fast_cycle: FastCycle) -> None:
        """Pass the collected request to the app."""
        self.cycle = None
        self._begin()
        super().on_body(fast_cycle.body)

    def shutdown(self) -> None:
        """Pass an upload in progress to the app, which knows the shutdown deadline."""
        fast_cycle, self.fast_cycle = self.fast_cycle, None
        if fast_cycle is not None and fast_cycle.handler.wants_body:
            self._fall_back_to_asgi(fast_cycle)
        super().shutdown()
        if fast_cycle is not None and not fast_cycle.handler.wants_body:
            fast_cycle.handler.begin(fast_cycle)

    def connection_lost(self, exc: Exception | None) -> None:
        fast_cycle, self.fast_cycle = self.fast_cycle, None
        if fast_cycle is not None:  # the app reports the disconnect, as for any request
            self._fall_back_to_asgi(fast_cycle)
        super().connection_lost(exc)
        self.pipeline.clear()
        self.flow.unread = b""
        if isinstance(self.cycle, FastCycle):
            self.cycle = None  # breaks a reference cycle, which only the garbage collector frees

    def _strip_upgrade(self, rest: bytes) -> bytes:
        """Return the request without its Upgrade header, and the data after it, for parsing."""
        header_lines = [b"%s:%s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return (
            b"%s %s HTTP/%s\r\n%s\r\n" % (method, self.url, version, b"".join(header_lines)) + rest
        )

    def _reject(self, error: ServiceError) -> None:
        self.flow.unread = b""
        self.reject(error)


def _rejection_of(error: httptools.HttpParserError) -> ServiceError:
    """Return the error that a callback of the parser raised, or one for invalid syntax."""
    if isinstance(error.__context__, ServiceError):
        return error.__context__
    return MalformedRequest("The request is not valid HTTP/1.1.")
