"""One decoder process, as the server sees it: a socket, and an exit code in the end."""

import asyncio
import socket
from typing import Any, Final

from pydantic import ValidationError

from app.decoders.frames import LENGTHS, MAX_HEAD_BYTES, pack_head
from app.decoders.graphs import InvalidGraph, check
from app.decoders.replies import MAX_CONTENT_BYTES, REPLY, Reply, Segments

EXIT_TIMEOUT: Final = 2.0


class DecoderDied(Exception):
    """The process ended before it replied. `code` is its exit code, or None if it is unknown."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"the decoder ended with exit code {code}")
        self.code = code


class InvalidReply(Exception):
    """The process sent what no decoder sends."""


class Decoder:
    """A decoder process. Belongs to one event loop, and serves one request at a time."""

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number, self.connection = number, connection
        self.exit_code: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def exchange(self, head: dict[str, Any], upload: bytes) -> tuple[Reply, bytes]:
        """Send a request, and return the reply with its content. Raises DecoderDied, InvalidReply.

        If this is cancelled, the process has to be killed: it may be anywhere in the exchange.
        """
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self.connection, pack_head(head, upload))
            await loop.sock_sendall(self.connection, upload)
            head_length, content_length = LENGTHS.unpack(await self._receive(LENGTHS.size))
            if head_length > MAX_HEAD_BYTES or content_length > MAX_CONTENT_BYTES:
                raise InvalidReply(f"{head_length} and {content_length} bytes")
            packed = await self._receive(head_length)
            content = await self._receive(content_length)
        except OSError:
            raise await self._death() from None
        try:
            reply = REPLY.validate_json(packed)
        except ValidationError as error:
            raise InvalidReply(f"{error.error_count()} values are invalid") from None
        if len(content) != reply.content_bytes:
            raise InvalidReply(f"{len(content)} bytes instead of {reply.content_bytes}")
        if isinstance(reply, Segments):
            try:
                check(reply.counts, content)
            except InvalidGraph as error:
                raise InvalidReply(str(error)) from None
        return reply, content

    def close(self) -> None:
        """Close the socket. An idle decoder then ends by itself."""
        self.connection.close()

    async def _receive(self, length: int) -> bytes:
        loop = asyncio.get_running_loop()
        buffer = bytearray(length)
        start = 0
        with memoryview(buffer) as view:
            while start < length:
                count = await loop.sock_recv_into(self.connection, view[start:])
                if count == 0:
                    raise ConnectionResetError
                start += count
        return bytes(buffer)

    async def _death(self) -> DecoderDied:
        try:
            async with asyncio.timeout(EXIT_TIMEOUT):
                return DecoderDied(await asyncio.shield(self.exit_code))
        except TimeoutError:
            return DecoderDied(None)
