"""The predict path, whole: decode → normalise → batch → MyNet → answer.

What enters: an image's bytes. What leaves: the answer, and what the network saw. This module does
not know of HTTP.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from app.errors import Busy, DeadlineExceeded, Refusal
from app.image.decode import open_image, to_grey
from app.image.normalise import Normalised, normalise
from app.predict.batcher import Batcher
from app.predict.live import Live
from app.predict.model import Answer, Model
from app.settings import Settings

# Up to these sizes decoding takes less time than handing it to a thread and back would delay it.
SMALL_PIXELS: Final = 128 * 128
SMALL_BYTES: Final = 16 * 1024
DECODING_THREADS: Final = 2


class Seen(NamedTuple):
    """What the network was given, and the scale between the upload's pixels and `box`."""

    normalised: Normalised
    scale: float


class Predicted(NamedTuple):
    """An answer, with saliency, (28, 28) uint8, where it was asked for."""

    answer: Answer
    seen: Seen
    saliency: NDArray[np.uint8] | None = None


class Predictor:
    """Answers for uploads, a bounded number at a time. Belongs to one event loop."""

    def __init__(self, settings: Settings, live: Live) -> None:
        self.settings, self.live = settings, live
        self.batcher = Batcher(live)
        self.under_way = 0
        self._threads = ThreadPoolExecutor(DECODING_THREADS, "decode")
        # A thread of its own, so that a long batch does not delay the photos that come one by one.
        self._batch_thread = ThreadPoolExecutor(1, "decode-batch")

    async def predict(
        self, upload: bytes, version: int | None = None, *, explain: bool = False
    ) -> Predicted:
        """Answer for one image, with the live version unless another is named.

        Raises NotAnImage, ImageTooLarge, BlankImage, NotFound, Conflict, NotReady, Busy,
        DeadlineExceeded.
        """
        async with self._admitted(1):
            seen = await self._see(upload)
            if version is None and not explain:
                return Predicted(await self.batcher.answer(seen.normalised.pixels), seen)
            return _predict(await self._model(version), seen, explain=explain)

    async def predict_batch(
        self, uploads: Sequence[bytes], version: int | None = None
    ) -> tuple[list[Predicted | Refusal], int]:
        """Answer for many images with one version: a prediction or a refusal each, in their order.

        Raises NotFound, Conflict, NotReady, Busy, DeadlineExceeded.
        """
        given_up = threading.Event()
        async with self._admitted(len(uploads)):
            try:
                model = await self._model(version)
                seen = await asyncio.get_running_loop().run_in_executor(
                    self._batch_thread, self._see_all, uploads, given_up
                )
            finally:
                given_up.set()
            return _predict_all(model, seen), model.version

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._batch_thread.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def _admitted(self, images: int) -> AsyncIterator[None]:
        """Keep within the queue, and the deadline that each image has; a batch comes in whole."""
        if self.under_way >= self.settings.max_queue:
            raise Busy(f"{self.under_way} predictions are under way already.", retry_after=1)
        self.under_way += images
        limit = images * self.settings.predict_timeout
        try:
            async with asyncio.timeout(limit):
                yield
        except TimeoutError:
            raise DeadlineExceeded(f"There was no answer within {limit} s.") from None
        finally:
            self.under_way -= images

    async def _model(self, version: int | None) -> Model:
        if self.live.holds(version):
            return self.live.of(version)
        return await asyncio.to_thread(self.live.of, version)

    async def _see(self, upload: bytes) -> Seen:
        most, loop = self.settings.max_pixels, asyncio.get_running_loop()
        if len(upload) > SMALL_BYTES:
            return await loop.run_in_executor(self._threads, _open_and_see, upload, most)
        image = open_image(upload, most)
        if image.width * image.height > SMALL_PIXELS:
            return await loop.run_in_executor(self._threads, _see, image)
        return _see(image)

    def _see_all(self, uploads: Sequence[bytes], given_up: threading.Event) -> list[Seen | Refusal]:
        seen: list[Seen | Refusal] = []
        for upload in uploads:
            if given_up.is_set():
                break
            try:
                seen.append(_open_and_see(upload, self.settings.max_pixels))
            except Refusal as refusal:
                seen.append(refusal)
        return seen


def read(upload: bytes, model: Model, max_pixels: int) -> Predicted:
    """Answer for one image, here and now. Raises NotAnImage, ImageTooLarge, BlankImage."""
    return _predict(model, _open_and_see(upload, max_pixels), explain=False)


def _open_and_see(upload: bytes, max_pixels: int) -> Seen:
    return _see(open_image(upload, max_pixels))


def _see(image: Image.Image) -> Seen:
    grey = to_grey(image)
    return Seen(normalise(grey.pixels), grey.size[0] / grey.pixels.shape[1])


def _predict(model: Model, seen: Seen, *, explain: bool) -> Predicted:
    pixels = seen.normalised.pixels
    (answer,) = model.answer(torch.from_numpy(pixels)[None])
    return Predicted(answer, seen, model.saliency(pixels, answer.digit) if explain else None)


def _predict_all(model: Model, seen: Sequence[Seen | Refusal]) -> list[Predicted | Refusal]:
    readable = [each.normalised.pixels for each in seen if isinstance(each, Seen)]
    answers = iter(model.answer(torch.from_numpy(np.stack(readable))) if readable else [])
    return [each if isinstance(each, Refusal) else Predicted(next(answers), each) for each in seen]
