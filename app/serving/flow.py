"""How much is read on a connection: no more than can soon be answered.

What enters: bytes. What leaves: pieces of them, and a sender that waits. This module does not know
how requests are parsed.
"""

import asyncio
from collections.abc import Iterator, Sized
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl

# Some hundred requests fit in it, each of which takes a hundred times its size.
PIECE: Final = 16 * 1024


class Flow(FlowControl):
    """Reads on only where no request waits for the answer to one before it."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self.waiting, self.unread = waiting, b""

    def resume_reading(self) -> None:
        if not (self.waiting or self.unread):
            super().resume_reading()

    def pieces(self) -> Iterator[bytes]:
        """Give what is to be parsed by now."""
        while self.unread and not self.waiting:
            piece, self.unread = self.unread[:PIECE], self.unread[PIECE:]
            yield piece
