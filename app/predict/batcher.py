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

from app.errors import ClientDisconnected, ServiceError, without_trace
from app.predict.live_model import Live
from app.predict.model import Answer
from app.predict.preprocess import PreprocessedImage, preprocess_if_small
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import FinishedSpan

LARGEST: Final = 256
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

    seen: PreprocessedImage
    answer: Answer
    saliency: NDArray[np.uint8] | None = None
    forward: Forward | None = None

    def stages(self, asked: float) -> Iterator[FinishedSpan]:
        """Tell of the stages of an image for which was asked then."""
        seen = self.seen
        decoded = seen.began + seen.decode_seconds
        yield FinishedSpan("queue", asked, seen.began - asked)
        yield FinishedSpan("decode", seen.began, seen.decode_seconds)
        yield FinishedSpan("normalise", decoded, seen.normalise_seconds)
        if self.forward:
            began, seconds, images = self.forward
            known = {"images": images, "version": self.answer.version}
            yield FinishedSpan("forward", began, seconds, known)


# None where seeing the upload takes a while, and is for a thread.
PredictionOutcome = PredictionResult | Exception | None


class PendingRequest(NamedTuple):
    """Someone who waits: since and until times of the loop's clock, and unless gone."""

    upload: bytes | PreprocessedImage
    tell: Callable[[PredictionOutcome], None]
    until: float
    is_gone: Callable[[], bool]
    since: float


class Batcher:
    """Collects images and answers them together. Belongs to one event loop."""

    def __init__(self, live: Live, max_pixels: int, tally: Metrics | None = None) -> None:
        self.live, self.max_pixels = live, max_pixels
        self.tally = tally or Metrics()
        self._waiting: list[PendingRequest] = []

    async def predict(
        self, upload: bytes | PreprocessedImage, until: float, is_gone: Callable[[], bool]
    ) -> PredictionResult | None:
        """Answer for one image, seen already or small; None where seeing it takes a while.

        Raises NotAnImage, ImageTooLarge, BlankImage, NotReady, TimeoutError, ClientGone.
        """
        return await self._enqueue_with_future(upload, until, is_gone)

    def _enqueue_with_future(
        self, upload: bytes | PreprocessedImage, until: float, is_gone: Callable[[], bool]
    ) -> asyncio.Future[PredictionResult | None]:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[PredictionResult | None] = loop.create_future()

        def is_unwanted() -> bool:
            return told.done() or is_gone()

        self.enqueue(PendingRequest(upload, partial(_settle, told), until, is_unwanted, loop.time()))
        return told

    def enqueue(self, waiting: PendingRequest) -> None:
        """Answer by a call of `tell`, in one of the next turns."""
        self._waiting.append(waiting)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._step)

    def _step(self) -> None:
        """Collect, see, forward, answer."""
        loop = asyncio.get_running_loop()
        batch, self._waiting = self._waiting[:LARGEST], self._waiting[LARGEST:]
        if self._waiting:
            loop.call_soon(self._step)
        now, queue = loop.time(), self.tally.stages["queue"]
        for each in batch:
            queue.add(now - each.since)
        looked = [(each, self._preprocess(each, now)) for each in batch]
        outcomes = self._answer([seen for _, seen in looked if isinstance(seen, PreprocessedImage)])
        for waiting, seen in looked:
            _tell(waiting, next(outcomes) if isinstance(seen, PreprocessedImage) else seen)

    def _preprocess(self, waiting: PendingRequest, now: float) -> PreprocessedImage | Exception | None:
        """See one upload. What is wrong with it is for its own sender alone; who no longer waits,
        since time is up or the connection gone, costs no work.
        """
        if waiting.is_gone():
            return ClientDisconnected("The client hung up.")
        if now > waiting.until:
            return TimeoutError()
        if isinstance(waiting.upload, PreprocessedImage):
            return waiting.upload
        try:
            return preprocess_if_small(waiting.upload, self.max_pixels)
        except ServiceError as refusal:
            return without_trace(refusal)  # its frames, and those that called them, hold it
        except Exception as error:
            return error

    def _answer(self, seen: list[PreprocessedImage]) -> Iterator[PredictionOutcome]:
        if not seen:
            return iter(())
        started = time.perf_counter()
        try:
            pixels = [each.normalised.pixels for each in seen]
            answers = self.live.model.answer(np.stack(pixels))
            if len(answers) != len(seen):
                raise BatchSizeMismatch(f"{len(seen)} images went in, {len(answers)} answers came out")
        except Exception as error:
            return repeat(error)
        forward = Forward(started, time.perf_counter() - started, len(seen))
        self.tally.batch(forward.images, forward.seconds)
        return map(PredictionResult, seen, answers, repeat(None), repeat(forward))


def _tell(waiting: PendingRequest, outcome: PredictionOutcome) -> None:
    try:
        waiting.tell(outcome)
    except Exception:  # the others of the batch wait for theirs
        log.exception("an answer could not be given")


def _settle(told: asyncio.Future[PredictionResult | None], outcome: PredictionOutcome) -> None:
    if told.done():
        return
    if isinstance(outcome, Exception):
        told.set_exception(outcome)
    else:
        told.set_result(outcome)
