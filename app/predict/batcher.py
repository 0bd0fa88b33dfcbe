"""What arrived since the last forward goes into the next one.

What enters: one upload a call. What leaves: what was seen in it, and the answer. This module does
not know how images are made, nor which version answers.

There is no timer and no waiting for company: the first upload of a batch asks the event loop for
one turn, all that arrives in this turn joins it, and a lone upload is answered in the very next
turn. All of it runs on the event loop: for small images and MyNet it takes less time than handing
it to a thread. Each step is taken for all uploads before the next: code and weights that are used
again at once are still in the processor's caches, and decoding costs a third.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import ClientDisconnected, ServiceError, drop_traceback
from app.predict.live_model import LiveModel
from app.predict.model import Answer
from app.predict.preprocess import PreprocessedImage, preprocess_if_small
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import FinishedSpan

MAX_BATCH_SIZE: Final = 256
log = logging.getLogger(__name__)


class BatchSizeMismatch(Exception):
    """A batch came back with another length: nobody can know whose answers they are."""


class Forward(NamedTuple):
    """When the network was asked, by `time.perf_counter`, for how long, and for how many images."""

    began: float
    seconds: float
    images: int


class PredictionResult(NamedTuple):
    """What was seen in an upload, the answer, and the forward that it was part of; saliency,
    (28, 28) uint8, where asked for.
    """

    preprocessed: PreprocessedImage
    answer: Answer
    saliency: NDArray[np.uint8] | None = None
    forward: Forward | None = None

    def stages(self, queued_at: float) -> Iterator[FinishedSpan]:
        """Yield the stages of an image that was requested then."""
        preprocessed = self.preprocessed
        decoded = preprocessed.began + preprocessed.decode_seconds
        yield FinishedSpan("queue", queued_at, preprocessed.began - queued_at)
        yield FinishedSpan("decode", preprocessed.began, preprocessed.decode_seconds)
        yield FinishedSpan("normalise", decoded, preprocessed.normalise_seconds)
        if self.forward:
            began, seconds, images = self.forward
            attributes = {"images": images, "version": self.answer.version}
            yield FinishedSpan("forward", began, seconds, attributes)


# None where seeing the upload takes a while, and is for a thread.
PredictionOutcome = PredictionResult | Exception | None


class PendingRequest(NamedTuple):
    """Someone who waits: since and until times of the loop's clock, and unless gone."""

    upload: bytes | PreprocessedImage
    callback: Callable[[PredictionOutcome], None]
    deadline: float
    is_cancelled: Callable[[], bool]
    queued_at: float


class Batcher:
    """Collects images and answers them together. Belongs to one event loop."""

    def __init__(self, live: LiveModel, max_pixels: int, metrics: Metrics | None = None) -> None:
        self.live, self.max_pixels = live, max_pixels
        self.metrics = metrics or Metrics()
        self._pending: list[PendingRequest] = []

    async def predict(
        self, upload: bytes | PreprocessedImage, deadline: float, is_cancelled: Callable[[], bool]
    ) -> PredictionResult | None:
        """Answer for one image, seen already or small; None where seeing it takes a while.

        Raises NotAnImage, ImageTooLarge, BlankImage, NotReady, TimeoutError, ClientDisconnected.
        """
        return await self._enqueue_with_future(upload, deadline, is_cancelled)

    def _enqueue_with_future(
        self, upload: bytes | PreprocessedImage, deadline: float, is_cancelled: Callable[[], bool]
    ) -> asyncio.Future[PredictionResult | None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[PredictionResult | None] = loop.create_future()

        def is_abandoned() -> bool:
            return future.done() or is_cancelled()

        self.enqueue(
            PendingRequest(upload, partial(_resolve, future), deadline, is_abandoned, loop.time())
        )
        return future

    def enqueue(self, request: PendingRequest) -> None:
        """Answer by the request's `callback`, in one of the next turns of the event loop."""
        self._pending.append(request)
        if len(self._pending) == 1:
            asyncio.get_running_loop().call_soon(self._step)

    def _step(self) -> None:
        """Collect, see, forward, answer."""
        loop = asyncio.get_running_loop()
        batch, self._pending = self._pending[:MAX_BATCH_SIZE], self._pending[MAX_BATCH_SIZE:]
        if self._pending:
            loop.call_soon(self._step)
        now, queue = loop.time(), self.metrics.stages["queue"]
        for request in batch:
            queue.add(now - request.queued_at)
        inputs = [(request, self._preprocess(request, now)) for request in batch]
        outcomes = self._answer(
            [
                preprocessed
                for _, preprocessed in inputs
                if isinstance(preprocessed, PreprocessedImage)
            ]
        )
        for request, preprocessed in inputs:
            _notify(
                request,
                next(outcomes) if isinstance(preprocessed, PreprocessedImage) else preprocessed,
            )

    def _preprocess(
        self, request: PendingRequest, now: float
    ) -> PreprocessedImage | Exception | None:
        """See one upload. What is wrong with it is for its own sender alone; who no longer waits,
        since time is up or the connection gone, costs no work.
        """
        if request.is_cancelled():
            return ClientDisconnected("The client hung up.")
        if now > request.deadline:
            return TimeoutError()
        if isinstance(request.upload, PreprocessedImage):
            return request.upload
        try:
            return preprocess_if_small(request.upload, self.max_pixels)
        except ServiceError as refusal:
            return drop_traceback(refusal)  # its frames, and those that called them, hold it
        except Exception as error:
            return error

    def _answer(self, images: list[PreprocessedImage]) -> Iterator[PredictionOutcome]:
        if not images:
            return iter(())
        started = time.perf_counter()
        try:
            pixels = [image.normalised.pixels for image in images]
            answers = self.live.model.answer(np.stack(pixels))
            if len(answers) != len(images):
                raise BatchSizeMismatch(
                    f"{len(images)} images went in, {len(answers)} answers came out"
                )
        except Exception as error:
            return repeat(error)
        forward = Forward(started, time.perf_counter() - started, len(images))
        self.metrics.batch(forward.images, forward.seconds)
        return map(PredictionResult, images, answers, repeat(None), repeat(forward))


def _notify(request: PendingRequest, outcome: PredictionOutcome) -> None:
    try:
        request.callback(outcome)
    except Exception:  # the others of the batch wait for theirs
        log.exception("an answer could not be given")


def _resolve(future: asyncio.Future[PredictionResult | None], outcome: PredictionOutcome) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
