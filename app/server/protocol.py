"""HTTP/1.1 protocol: uvicorn's, with flow control for pipelined requests and a fast path."""

import asyncio
import socket
from typing import Any, Final

import httptools

from app.errors import MalformedRequest, ServiceError
from app.server.fast_path import FastCycle, FastHandler, FastPath
from app.server.flow_control import CHUNK_BYTES, PipelineFlowControl
from app.server.request_head import check_head
from app.server.shutdown import Shutdown
from app.server.timeouts import TimeoutProtocol
from app.server.unchunked import UnchunkedCycle

CLIENT: Final = "mynet.client"
MAX_HEAD_BYTES: Final = 64 * 1024
# asyncio allocates its buffer of 256 KiB for each read: 10 µs, against 1.4 µs for 64 KiB.
READ_BYTES: Final = 64 * 1024


class Protocol(TimeoutProtocol):
    """Bounds headers, ignores trailers, and ignores requests to upgrade the connection.

    RFC 9110 (6.5.1, 7.8) allows both. httptools stops after the headers of a request to upgrade,
    which Java's HttpClient sends by default. Its body would be lost, and a training job would start
    with default values.
    """

    parser: Any
    flow: PipelineFlowControl
    head_size = 0  # bytes of the headers, or received since the last chunk of the body
    fast_path: FastPath | None
    fast_cycle: FastCycle | None = None  # the request whose body is arriving
    in_message = False  # whether the parser has read a part of a request
    single_read = b""  # data that began with a request, while it is parsed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        self.fast_path = self.app_state.get("express")
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
        if self.fast_path is None or self.in_message or self.flow.unread or self._is_busy():
            self.flow.add(data)
            self._read()
        elif not self._begin_known(self.fast_path, data):
            self.flow.unread = self.single_read = data
            self._read()
            self.single_read = b""

    def _is_busy(self) -> bool:
        """Return whether an earlier request is not answered, or its answer not sent."""
        return self.flow.write_paused or not (self.cycle is None or self.cycle.response_complete)

    def _begin_known(self, fast_path: FastPath, data: bytes) -> bool:
        """Begin to answer a request with a known head; return False if the data is no such one."""
        found = fast_path.heads.find(data)
        if found is None:
            return False
        head, body = found
        previous, self.cycle = self.cycle, FastCycle(self, head.headers, head.handler, body)
        if not head.handler.begin(self.cycle):
            self.cycle = previous
            return False
        self.stop_read_timer()
        return True

    def on_response_complete(self) -> None:
        if self.rejection is not None and not self.pipeline:
            self.send_rejection()
        self._start_next()
        shutdown: Shutdown | None = self.app_state.get("ending")
        if shutdown is not None and shutdown.listeners_closed:
            self.transport.close()  # it opened while uvicorn closed the other connections
        elif self.flow.unread:
            self.loop.call_soon(self._read_on)

    def _start_next(self) -> None:
        """Start the next pipelined request, or wait for one.

        As uvicorn does it, except for the timer.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.start_keep_alive_timer()

    def _read_on(self) -> None:
        self._read()
        self.flow.resume_reading()

    def _read(self) -> None:
        for chunk in self.flow.chunks():
            if self.transport.is_closing():
                self.flow.unread = b""
                return
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
        self.in_message = True
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
        if (
            self.fast_path is not None
            and not (self._is_busy() or self.expect_100_continue)
            and version == "1.1"
            and self.parser.should_keep_alive()
        ):
            return self.fast_path.match(self.parser.get_method(), self.url, self.headers)
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
        self.in_message = False
        fast_cycle, self.fast_cycle = self.fast_cycle, None
        if fast_cycle is not None:
            if fast_cycle.handler.is_constant and self.single_read and self.fast_path:
                self.fast_path.heads.add(self.single_read, fast_cycle)
                self.single_read = b""
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
