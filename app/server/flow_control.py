"""Flow control of a connection with pipelined requests."""

import asyncio
from collections.abc import Iterator, Sized
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl

CHUNK_BYTES: Final = 16 * 1024


class PipelineFlowControl(FlowControl):
    """Stops reading while a pipelined request waits for the response to an earlier one."""

    def __init__(self, transport: asyncio.Transport, pipeline: Sized) -> None:
        super().__init__(transport)
        self.pipeline = pipeline
        self.unread: bytes | memoryview = b""

    def resume_reading(self) -> None:
        if not (self.pipeline or self.unread):
            super().resume_reading()

    def add(self, data: bytes) -> None:
        """Add data that the connection received."""
        self.unread = bytes(self.unread) + data if self.unread else data

    def chunks(self) -> Iterator[bytes]:
        """Yield the chunks that can be parsed now.

        The rest is a view: a copy of it for each chunk would cost the square of its length.
        """
        while self.unread and not self.pipeline:
            rest = memoryview(self.unread)
            chunk, self.unread = bytes(rest[:CHUNK_BYTES]), rest[CHUNK_BYTES:]
            yield chunk
