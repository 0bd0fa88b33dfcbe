"""HTTP/1.1 on a connection: uvicorn's protocol on httptools, with what it lacks.

What enters: bytes of a client. What leaves: ASGI, with `CLIENT` among the scope's extensions: its
`is_gone()` says whether the client has hung up. This module does not know of routes.
"""

import asyncio
import logging
import socket
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CLIENT: Final = "mynet.client"
LARGEST_HEAD: Final = 64 * 1024
log = logging.getLogger(__name__)


class Protocol(HttpToolsProtocol):
    """Bounds headers, and passes over offers to upgrade, as RFC 9110 (7.8) allows.

    httptools stops at the end of the headers of such a request, which Java's HttpClient sends by
    default: its body would be lost, and a training start with defaults.
    """

    parser: Any
    in_head = False
    head_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            # Not set where several workers listen on one socket: the second half of an answer would
            # wait 40 ms for the client to acknowledge the first.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data:
            received, data = data, b""
            try:
                self.parser.feed_data(received)
            except httptools.HttpParserUpgrade as stopped:
                data = self._without_offer(received[stopped.args[0] :])
            except httptools.HttpParserError:
                self._refuse("Invalid HTTP request received.")
                return
            self.head_size = self.head_size + len(received) if self.in_head else 0
        if self.head_size > LARGEST_HEAD:
            self._refuse(f"The headers are larger than {LARGEST_HEAD} bytes.")

    def on_message_begin(self) -> None:
        self.in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.in_head = False
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        self.scope["extensions"] = {CLIENT: {"is_gone": self.transport.is_closing}}

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        # Reading was paused where the body is large, and who does not read sees nobody hang up.
        self.flow.resume_reading()

    def _without_offer(self, rest: bytes) -> bytes:
        """Give the request to be parsed again, without the offer, and what came after it."""
        method: bytes = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse("This is no proxy.")
            return b""
        kept = [b"%s: %s\r\n" % each for each in self.headers if each[0] != b"upgrade"]
        version = self.parser.get_http_version().encode()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        return b"%s %s HTTP/%s\r\n%s\r\n" % (method, self.url, version, b"".join(kept)) + rest

    def _refuse(self, message: str) -> None:
        log.info("%s is answered 400: %s", self.client, message)
        self.send_400_response(message)
