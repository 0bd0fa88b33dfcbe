"""A look at an image that is to be kept: whether a prediction could be made of it.

What enters: an upload. What leaves: its grey pixels. This module does not know where they are kept.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.errors import Busy, DeadlineExceeded
from app.image.decode import open_image, to_grey
from app.image.normalise import normalise
from app.predict.threads import give_way, go_on_unless, in_thread
from app.settings import Settings

THREADS: Final = 1


class Look:
    """Looks at uploads, a bounded number at a time, after all predictions."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.under_way = settings, 0
        self._threads = ThreadPoolExecutor(THREADS, "look", give_way)

    async def at(self, upload: bytes, is_gone: Callable[[], bool]) -> NDArray[np.uint8]:
        """Give the (H, W) grey pixels of an image in which there is ink.

        Raises NotAnImage, ImageTooLarge, BlankImage, Busy, DeadlineExceeded, ClientGone.
        """
        if self.under_way >= self.settings.max_queue:
            raise Busy(f"{self.under_way} corrections are under way already.", retry_after=1)
        limit = self.settings.predict_timeout
        until = asyncio.get_running_loop().time() + limit
        work = partial(_grey, upload, self.settings.max_pixels)
        self.under_way += 1
        try:
            return await in_thread(self._threads, work, until, is_gone)
        except TimeoutError:
            raise DeadlineExceeded(f"The image was not decoded within {limit} s.") from None
        finally:
            self.under_way -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _grey(upload: bytes, max_pixels: int, is_gone: Callable[[], bool]) -> NDArray[np.uint8]:
    grey = to_grey(open_image(upload, max_pixels, is_gone)).pixels
    go_on_unless(is_gone)
    normalise(grey)
    return grey
