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
        self.pipeline, self.unread = pipeline, b""

    def resume_reading(self) -> None:
        if not (self.pipeline or self.unread):
            super().resume_reading()

    def chunks(self) -> Iterator[bytes]:
        """Yield the chunks that can be parsed now."""
        while self.unread and not self.pipeline:
            chunk, self.unread = self.unread[:CHUNK_BYTES], self.unread[CHUNK_BYTES:]
            yield chunk
