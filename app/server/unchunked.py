"""Responses of unknown length to HTTP/1.0 clients, without chunked encoding."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class UnchunkedCycle(RequestResponseCycle):
    """uvicorn's cycle, but a body without Content-Length ends with the connection.

    uvicorn chunks such a body, which a server must not do for HTTP/1.0 (RFC 9112, section 6.1): the
    client would take the lengths of the chunks for content.
    """

    ends_with_connection = False

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", [])}
            self.ends_with_connection = b"content-length" not in names
            if self.ends_with_connection:
                self.chunked_encoding = False
        elif message["type"] == "http.response.body" and self.ends_with_connection:
            # uvicorn checks that the body has this length.
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
