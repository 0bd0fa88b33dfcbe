"""An upload as decoders read it, for as long as someone waits for the answer.

What enters: an upload's bytes. What leaves: a file. This module does not know what the bytes show.

Ten megabytes of markers, of strips of one row, or of scans without end take decoders a minute.
Nobody waits for that long: they are stopped where they read on.
"""

from collections.abc import Callable
from io import BytesIO

from app.errors import ClientGone


class Source(BytesIO):
    """Bytes that raise ClientGone where they are read on when they are unwanted."""

    def __init__(self, data: bytes, is_unwanted: Callable[[], bool]) -> None:
        super().__init__(data)
        self.is_unwanted = is_unwanted

    def read(self, size: int | None = -1, /) -> bytes:
        if self.is_unwanted():
            raise ClientGone("Nobody waits for this image any more.")
        return super().read(size)
