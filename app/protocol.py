"""HTTP/1.1 on a connection: uvicorn's protocol on httptools, with what it lacks.

What enters: bytes of a client. What leaves: ASGI, with `CLIENT` among the scope's extensions: its
`is_gone()` says whether the client has hung up. This module does not know of routes.
"""

from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CLIENT: Final = "mynet.client"


class Protocol(HttpToolsProtocol):
    """Passes over offers to upgrade, as RFC 9110 (7.8) allows, with the body that they came with.

    httptools stops at the end of the headers of such a request, which Java's HttpClient sends by
    default: its body would be lost, and a training start with defaults.
    """

    parser: Any

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            self._pass_over_upgrade(data[stopped.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
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

    def _pass_over_upgrade(self, rest: bytes) -> None:
        """Parse the request again, without the offer."""
        method: bytes = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("This is no proxy.")
            return
        kept = [b"%s: %s\r\n" % each for each in self.headers if each[0] != b"upgrade"]
        version = self.parser.get_http_version().encode()
        head = b"%s %s HTTP/%s\r\n%s\r\n" % (method, self.url, version, b"".join(kept))
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)
