"""The read path: a decoder segments the image → MyNet → best path → text."""

import asyncio
from collections.abc import Callable
from typing import Final

from app.config.settings import Settings
from app.decoders import graphs
from app.errors import DeadlineExceeded, QueueFull
from app.predict.image_decoders import ImageDecoders
from app.predict.live_model import LiveModel
from app.predict.queues.thread_pool import AdmissionPool
from app.read.reading import Reading, read_lines

THREADS: Final = 1


class Reader:
    """Reads a bounded number of uploads at a time. Belongs to one event loop."""

    def __init__(self, settings: Settings, live: LiveModel, decoders: ImageDecoders) -> None:
        self.settings, self.live, self.decoders = settings, live, decoders
        self.in_flight = 0
        self._pool = AdmissionPool(THREADS, "read")

    async def read(
        self, upload: bytes, version: int | None, is_cancelled: Callable[[], bool]
    ) -> Reading:
        """Return all digits of an image; by default as the live version reads them.

        Raises NotAnImage, ImageTooLarge, BlankImage, TooManyDigits, NotFound, Conflict, NotReady,
        QueueFull, DeadlineExceeded, ClientDisconnected.
        """
        if self.in_flight >= self.settings.max_queue:
            raise QueueFull(
                f"The queue is full: {self.in_flight} images wait to be read. "
                "Try again in a second.",
                retry_after=1,
            )
        timeout = self.settings.predict_timeout
        deadline = asyncio.get_running_loop().time() + timeout
        self.in_flight += 1
        try:
            return await self._read(upload, version, deadline, is_cancelled)
        except TimeoutError:
            raise DeadlineExceeded(
                f"The image was not read within {timeout:g} s. Try again, or send fewer lines."
            ) from None
        finally:
            self.in_flight -= 1

    async def _read(
        self,
        upload: bytes,
        version: int | None,
        deadline: float,
        is_cancelled: Callable[[], bool],
    ) -> Reading:
        segments, content = await self.decoders.segment(upload, deadline, is_cancelled)

        def work(_is_cancelled: Callable[[], bool]) -> Reading:
            lines = graphs.unpack(segments.counts, content)
            return read_lines(lines, segments.scale, self.live.get(version))

        return await self._pool.submit(work, deadline, is_cancelled)

    def close(self) -> None:
        self._pool.close()
