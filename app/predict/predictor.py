"""The predict path, whole: decode → normalise → batch → MyNet → answer.

What enters: an image's bytes. What leaves: the answer, and what the network saw. This module does
not know of HTTP.
"""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, NamedTuple

import numpy as np
import torch
from PIL import Image

from app.errors import Busy, DeadlineExceeded, Refusal
from app.image.decode import open_image, to_grey
from app.image.normalise import Normalised, normalise
from app.predict.batcher import Batcher
from app.predict.live import Live
from app.predict.model import Answer, Model
from app.settings import Settings

# Up to this size decoding takes less time than handing it to a thread and back would delay it.
SMALL: Final = 128 * 128
DECODING_THREADS: Final = 2


class Seen(NamedTuple):
    """What the network was given, and the scale between the upload's pixels and `box`."""

    normalised: Normalised
    scale: float


class Predicted(NamedTuple):
    answer: Answer
    seen: Seen


class Predictor:
    """Answers for uploads, a bounded number at a time. Belongs to one event loop."""

    def __init__(self, settings: Settings, live: Live) -> None:
        self.settings, self.live = settings, live
        self.batcher = Batcher(live)
        self.under_way = 0
        self._threads = ThreadPoolExecutor(DECODING_THREADS, "decode")

    async def predict(self, upload: bytes, version: int | None = None) -> Predicted:
        """Answer for one image, with the live version unless another is named.

        Raises NotAnImage, ImageTooLarge, BlankImage, NotFound, NotReady, Busy, DeadlineExceeded.
        """
        with self._admitted():
            try:
                async with asyncio.timeout(self.settings.predict_timeout):
                    seen = await self._see(upload)
                    pixels = seen.normalised.pixels
                    if version is None:
                        return Predicted(await self.batcher.answer(pixels), seen)
                    model = await asyncio.to_thread(self.live.of, version)
                    return Predicted(model.answer(torch.from_numpy(pixels)[None])[0], seen)
            except TimeoutError:
                limit = self.settings.predict_timeout
                raise DeadlineExceeded(f"There was no answer within {limit} s.") from None

    async def predict_batch(
        self, uploads: Sequence[bytes], version: int | None = None
    ) -> tuple[list[Predicted | Refusal], int]:
        """Answer for many images with one version: a prediction or a refusal each, in their order.

        Raises NotFound, NotReady, Busy.
        """
        with self._admitted():
            loop = asyncio.get_running_loop()
            model = await asyncio.to_thread(self.live.of, version)
            seen = await loop.run_in_executor(self._threads, self._see_all, uploads)
            readable = [each.normalised.pixels for each in seen if isinstance(each, Seen)]
            answers = iter(model.answer(torch.from_numpy(np.stack(readable))) if readable else [])
            predictions = [
                each if isinstance(each, Refusal) else Predicted(next(answers), each)
                for each in seen
            ]
            return predictions, model.version

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self.under_way >= self.settings.max_queue:
            raise Busy(f"{self.under_way} predictions are under way already.", retry_after=1)
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    async def _see(self, upload: bytes) -> Seen:
        image = open_image(upload, self.settings.max_pixels)
        if image.width * image.height <= SMALL:
            return _see(image)
        # A large photo must not delay the small images that arrive meanwhile.
        return await asyncio.get_running_loop().run_in_executor(self._threads, _see, image)

    def _see_all(self, uploads: Sequence[bytes]) -> list[Seen | Refusal]:
        seen: list[Seen | Refusal] = []
        for upload in uploads:
            try:
                seen.append(_see(open_image(upload, self.settings.max_pixels)))
            except Refusal as refusal:
                seen.append(refusal)
        return seen


def read(upload: bytes, model: Model, max_pixels: int) -> Predicted:
    """Answer for one image, here and now. Raises NotAnImage, ImageTooLarge, BlankImage."""
    seen = _see(open_image(upload, max_pixels))
    return Predicted(model.answer(torch.from_numpy(seen.normalised.pixels)[None])[0], seen)


def _see(image: Image.Image) -> Seen:
    grey = to_grey(image)
    return Seen(normalise(grey.pixels), grey.size[0] / grey.pixels.shape[1])
