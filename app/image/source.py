"""An upload as decoders read it, for as long as someone waits for the answer.

What enters: an upload's bytes. What leaves: a file, and what of it Pillow does not tell. This
module does not know what the bytes show.

Ten megabytes of markers, of strips of one row, or of scans without end take decoders a minute.
Nobody waits for that long: they are stopped where they read on.
"""

import re
from collections.abc import Callable
from io import BytesIO
from typing import Final

from app.errors import ClientGone

# The beginning of a JPEG 2000 codestream, ISO/IEC 15444-1, A.5.1: sizes of the image and of a
# tile, each with the place of its corner.
CODESTREAM: Final = re.compile(rb"\xff\x4f\xff\x51.{4}(.{8})(.{8})(.{8})(.{8})", re.DOTALL)


class Source(BytesIO):
    """Bytes that raise ClientGone where they are read on when they are unwanted."""

    def __init__(self, data: bytes, is_unwanted: Callable[[], bool]) -> None:
        super().__init__(data)
        self.is_unwanted = is_unwanted

    def read(self, size: int | None = -1, /) -> bytes:
        if self.is_unwanted():
            raise ClientGone("Nobody waits for this image any more.")
        return super().read(size)


def tiles_of(data: bytes) -> int:
    """Count the tiles of a JPEG 2000 image, of which a decoder keeps books one by one."""
    most = 0
    for sizes in CODESTREAM.finditer(data):
        image, _, tile, corner = map(_pair, sizes.groups())
        across, down = (
            -(-(end - start) // max(1, side))
            for end, start, side in zip(image, corner, tile, strict=True)
        )
        most = max(most, across * down)
    return most


def _pair(packed: bytes) -> tuple[int, int]:
    return int.from_bytes(packed[:4]), int.from_bytes(packed[4:])
