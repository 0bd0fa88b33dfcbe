"""Validation of images that will be stored: corrections."""

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.config.settings import Settings
from app.errors import DeadlineExceeded, QueueFull
from app.predict.image_decoders import ImageDecoders


class ImageValidator:
    """Decodes uploads that will be stored, a bounded number at a time.

    It lets all predictions go first. Belongs to one event loop.
    """

    def __init__(self, settings: Settings, decoders: ImageDecoders) -> None:
        self.settings, self.decoders = settings, decoders
        self.in_flight = 0

    async def decode(self, upload: bytes, is_cancelled: Callable[[], bool]) -> NDArray[np.uint8]:
        """Return the (H, W) uint8 grey pixels of an image that contains ink.

        Raises NotAnImage, ImageTooLarge, BlankImage, QueueFull, NotReady, DeadlineExceeded,
        ClientDisconnected.
        """
        if self.in_flight >= self.settings.max_queue:
            raise QueueFull(
                f"The queue is full: {self.in_flight} corrections are in flight. "
                "Try again in a second.",
                retry_after=1,
            )
        timeout = self.settings.predict_timeout
        deadline = asyncio.get_running_loop().time() + timeout
        self.in_flight += 1
        try:
            return await self.decoders.read_grey(upload, deadline, is_cancelled)
        except TimeoutError:
            raise DeadlineExceeded(
                f"The image was not decoded within {timeout:g} s. Try again, or send a smaller one."
            ) from None
        finally:
            self.in_flight -= 1
