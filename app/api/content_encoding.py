"""ASGI middleware that decodes request bodies with a Content-Encoding (RFC 9110, 8.4; RFC 7694).

The body is decoded while it arrives, in small pieces, between which other requests are served. One
coding at a time: with several, a body could grow in between while nothing of it is counted.
"""

import asyncio
import zlib
from collections.abc import Iterator
from typing import Any, Final, Protocol

import brotli
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.body_limits import BodyLimits
from app.errors import BodyTooLarge, ContentEncodingNotSupported, MalformedRequest

HEADER: Final = b"content-encoding"
# `utf-8` is a charset and no coding, but some clients send it, with a body that is not encoded.
NOT_ENCODED: Final = ("", "identity", "utf-8")
ALIASES: Final = {"x-gzip": "gzip"}
PIECE_BYTES: Final = 64 * 1024  # 0.2 ms of inflating
MAX_MEMBERS: Final = 1000  # each takes as long as 10 KB, and may be of 20 bytes
GZIP_WBITS: Final = 16 + zlib.MAX_WBITS
DEFLATED: Final = 8  # the method in the lower half of the first byte of a zlib header


class Decoder(Protocol):
    """Decodes one body. Both methods raise an error of `BROKEN` if it is damaged."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes decode to, in pieces of about `PIECE_BYTES`; some are empty."""

    def finish(self) -> None:
        """Check that the end of the body has come."""


class ContentDecoding:
    """Decodes the bodies of requests. The encoded body is bounded like the decoded one."""

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if codings := _codings(scope):
            receive = _DecodedBody(codings, receive, self.limits.max_bytes(scope)).receive
        await self.app(scope, receive, send)


class _DecodedBody:
    """The messages of a body, decoded. The first one raises an error if that is impossible.

    Only a route that reads its body raises, after it has checked the key.
    """

    def __init__(self, codings: list[str], receive: Receive, max_bytes: int) -> None:
        self._codings, self._receive, self.max_bytes = codings, receive, max_bytes
        self._decoder: Decoder | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._encoded_bytes = self._decoded_bytes = 0
        self._has_arrived = self._is_complete = False

    async def receive(self) -> Message:
        """Return the next message. Raises MalformedRequest, BodyTooLarge and
        ContentEncodingNotSupported.
        """
        if self._is_complete:
            return await self._receive()
        while (piece := self._next_piece()) is None:
            if self._has_arrived:
                return self._finish()
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._add(message.get("body", b""))
            self._has_arrived = not message.get("more_body", False)
        await asyncio.sleep(0)  # other requests have their turn
        return {"type": "http.request", "body": piece, "more_body": True}

    def _add(self, data: bytes) -> None:
        self._decoder = self._decoder or _decoder(self._codings)
        self._encoded_bytes += len(data)
        self._check_size(self._encoded_bytes)
        self._pieces = _decode_in_slices(self._decoder, data)

    def _next_piece(self) -> bytes | None:
        try:
            piece = next(self._pieces, None)
        except BROKEN as error:
            raise self._malformed(str(error)) from None
        self._decoded_bytes += len(piece or b"")
        self._check_size(self._decoded_bytes)
        return piece

    def _finish(self) -> Message:
        try:
            if self._decoder and self._encoded_bytes:
                self._decoder.finish()
        except BROKEN as error:
            raise self._malformed(str(error)) from None
        self._is_complete = True
        return {"type": "http.request", "body": b"", "more_body": False}

    def _check_size(self, size: int) -> None:
        if size > self.max_bytes:
            raise BodyTooLarge(
                f"The body is larger than the limit of {self.max_bytes} bytes, which holds before "
                "and after its Content-Encoding is decoded. Send a smaller body."
            )

    def _malformed(self, problem: str) -> MalformedRequest:
        return MalformedRequest(
            f"The body is not valid {self._codings[0]}, its Content-Encoding: {problem}. "
            "Send it whole, or without that header if it is not encoded."
        )


def _codings(scope: Scope) -> list[str]:
    """Return the codings of a request's body, in lower case, without `identity`."""
    if scope["type"] != "http":
        return []
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == HEADER]
    names = [name.strip().lower() for value in values for name in value.split(",")]
    return [ALIASES.get(name, name) for name in names if name not in NOT_ENCODED]


def _decoder(codings: list[str]) -> Decoder:
    """Return a decoder for the one coding. Raises ContentEncodingNotSupported."""
    match codings:
        case ["gzip"]:
            return _Gzip()
        case ["deflate"]:
            return _Deflate()
        case ["br"]:
            return _Brotli()
    supported = ", ".join(ContentEncodingNotSupported.supported)
    raise ContentEncodingNotSupported(
        f"The Content-Encoding {', '.join(codings)!r:.60} is not supported. "
        f"Send the body with one of {supported}, or not encoded."
    )


def _decode_in_slices(decoder: Decoder, data: bytes) -> Iterator[bytes]:
    """Yield the decoded pieces. A decoder copies the input that it has not used yet."""
    for start in range(0, len(data), PIECE_BYTES):
        yield from decoder.decode(data[start : start + PIECE_BYTES])


class _Truncated(Exception):
    def __init__(self) -> None:
        super().__init__("its end is missing")


class _Surplus(Exception):
    """Something follows the end."""


BROKEN: Final = (zlib.error, brotli.error, _Truncated, _Surplus)


def _inflate(stream: Any, data: bytes) -> Iterator[bytes]:
    """Yield what a `zlib.decompressobj` makes of these bytes, until they or the stream end."""
    piece = stream.decompress(data, PIECE_BYTES)
    yield piece
    while not stream.eof and (stream.unconsumed_tail or len(piece) == PIECE_BYTES):
        piece = stream.decompress(stream.unconsumed_tail, PIECE_BYTES)
        yield piece


class _Gzip:
    """gzip (RFC 1952): members one after the other, and zeros that fill up a block of a tape."""

    def __init__(self) -> None:
        self._stream: Any = None
        self._members = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream is None:
                data = data.lstrip(b"\0") if self._members else data
                if not data:
                    return
                self._begin()
            yield from _inflate(self._stream, data)
            data = self._stream.unused_data
            if self._stream.eof:
                self._stream = None

    def _begin(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise _Surplus(f"it has more than {MAX_MEMBERS} members")
        self._stream = zlib.decompressobj(GZIP_WBITS)

    def finish(self) -> None:
        if self._stream is not None:
            raise _Truncated


class _Deflate:
    """deflate (RFC 1950), and the bare form without a zlib header, which some clients send."""

    def __init__(self) -> None:
        self._stream: Any = None
        self._head = b""

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            self._head += data
            if len(self._head) < 2:
                return
            data, is_bare = self._head, not _has_zlib_header(self._head)
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS if is_bare else zlib.MAX_WBITS)
        if data and self._stream.eof:
            raise _Surplus("bytes follow its end")
        yield from _inflate(self._stream, data)
        if self._stream.unused_data:
            raise _Surplus("bytes follow its end")

    def finish(self) -> None:
        if self._stream is None or not self._stream.eof:
            raise _Truncated


def _has_zlib_header(head: bytes) -> bool:
    return head[0] & 15 == DEFLATED and int.from_bytes(head[:2]) % 31 == 0


class _Brotli:
    """br: Brotli (RFC 7932)."""

    def __init__(self) -> None:
        self._stream: Any = brotli.Decompressor()

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._stream.is_finished():
            raise _Surplus("bytes follow its end")
        piece = self._stream.process(data, output_buffer_limit=PIECE_BYTES)
        yield piece
        # It may have used all of its input, and still hold output.
        while piece or not (self._stream.is_finished() or self._stream.can_accept_more_data()):
            piece = self._stream.process(b"", output_buffer_limit=PIECE_BYTES)
            yield piece

    def finish(self) -> None:
        if not self._stream.is_finished():
            raise _Truncated
