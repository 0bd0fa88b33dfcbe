"""A look at an image that is to be kept: whether a prediction could be made of it.

What enters: an upload. What leaves: its grey pixels. This module does not know where they are kept.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from app.errors import Busy, DeadlineExceeded
from app.image.decode import open_image, to_grey
from app.image.normalise import normalise
from app.predict.crew import Crew, go_on_unless
from app.settings import Settings


class Look:
    """Looks at uploads, a bounded number at a time, after all predictions."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._crew = Crew(1, "look")

    async def at(self, upload: bytes, is_gone: Callable[[], bool]) -> NDArray[np.uint8]:
        """Give the (H, W) grey pixels of an image in which there is ink.

        Raises NotAnImage, ImageTooLarge, BlankImage, Busy, DeadlineExceeded, ClientGone.
        """
        if self._crew.images >= self.settings.max_queue:
            raise Busy(f"{self._crew.images} corrections are under way already.", retry_after=1)
        limit = self.settings.predict_timeout
        until = asyncio.get_running_loop().time() + limit
        work = partial(_grey, upload, self.settings.max_pixels)
        try:
            return await self._crew.do(work, until, is_gone)
        except TimeoutError:
            raise DeadlineExceeded(f"The image was not decoded within {limit} s.") from None

    def close(self) -> None:
        self._crew.close()


def _grey(upload: bytes, max_pixels: int, is_gone: Callable[[], bool]) -> NDArray[np.uint8]:
    grey = to_grey(open_image(upload, max_pixels, is_gone)).pixels
    go_on_unless(is_gone)
    normalise(grey)
    return grey
