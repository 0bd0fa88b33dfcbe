"""The predict path, whole: decode → normalise → batch → MyNet → answer.

What enters: an image's bytes, or what the network is given. What leaves: the answer, and what the
network saw. This module does not know of HTTP.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np

from app.config.settings import Settings
from app.errors import QueueFull, DeadlineExceeded, ServiceError, without_trace
from app.predict.batcher import Batcher, Forward, Outcome, Predicted, Waiting
from app.predict.live_model import Live
from app.predict.model import Model
from app.predict.preprocess import SMALL_BYTES, Seen, see
from app.predict.thread_pool import Crew, go_on_unless
from app.telemetry.metrics import Tally

THREADS: Final = 2


def never() -> bool:
    """Say of a client that is no connection that it is not gone."""
    return False


class Predictor:
    """Answers for uploads, a bounded number at a time. Belongs to one event loop.

    `counts` tells how many images were answered, and how many were refused, by the refusal's code.
    """

    def __init__(self, settings: Settings, live: Live, tally: Tally | None = None) -> None:
        self.settings, self.live, self.tally = settings, live, tally or Tally()
        self.batcher = Batcher(live, settings.max_pixels, self.tally)
        self.under_way = 0
        self.counts = self.tally.images
        self._photos = Crew(THREADS, "photo")
        # Threads of their own: small images wait for no photo, and photos for no long batch.
        self._explained = Crew(1, "small", gives_way=False)
        self._batches = Crew(1, "batch")

    async def predict(
        self,
        upload: bytes | Seen,
        version: int | None = None,
        *,
        explain: bool = False,
        is_gone: Callable[[], bool] = never,
    ) -> Predicted:
        """Answer for one image, with the live version unless another is named. What is `Seen`
        already goes to the network as it is.

        Raises NotAnImage, ImageTooLarge, BlankImage, NotFound, Conflict, NotReady, Busy,
        DeadlineExceeded, ClientGone.
        """
        until = self._admit(1)
        try:
            if version is None and not explain:
                predicted = await self._predict(upload, until, is_gone)
            else:
                work = partial(self._explain, upload, version, explain)
                crew = self._explained if _is_small(upload) else self._photos
                predicted = await crew.do(work, until, is_gone)
                if predicted.forward:
                    self.tally.batch(1, predicted.forward.seconds)
        except (ServiceError, TimeoutError) as error:
            raise self._counted(error, 1) from None
        finally:
            self.under_way -= 1
        self._answered(predicted)
        return predicted

    def predict_soon(
        self, upload: bytes, tell: Callable[[Outcome], None], is_gone: Callable[[], bool]
    ) -> None:
        """Answer for one small image, with the live version, by a call of `tell` and no task.

        What is told is the prediction, what `predict` would raise, or None: `predict` then, since
        the image takes a while. Raises Busy.
        """
        until = self._admit(1)
        since = until - self.settings.predict_timeout
        self.batcher.enter(Waiting(upload, partial(self._told, tell), until, is_gone, since))

    def _told(self, tell: Callable[[Outcome], None], outcome: Outcome) -> None:
        self.under_way -= 1
        if isinstance(outcome, Predicted):
            self._answered(outcome)
        elif isinstance(outcome, ServiceError | TimeoutError):
            outcome = self._counted(outcome, 1)
        tell(outcome)

    async def predict_batch(
        self,
        uploads: Sequence[bytes | Seen],
        version: int | None = None,
        *,
        is_gone: Callable[[], bool] = never,
    ) -> tuple[list[Predicted | ServiceError], int]:
        """Answer for many images with one version: a prediction or a refusal each, in their order.
        What is `Seen` already goes to the network as it is.

        Raises NotFound, Conflict, NotReady, Busy, DeadlineExceeded, ClientGone.
        """
        until = self._admit(len(uploads))
        try:
            work = partial(self._predict_all, uploads, version)
            predicted, answered_by, forward = await self._batches.do(
                work, until, is_gone, len(uploads)
            )
        except (ServiceError, TimeoutError) as error:
            raise self._counted(error, len(uploads)) from None
        finally:
            self.under_way -= len(uploads)
        read = [each for each in predicted if isinstance(each, Predicted)]
        if read:
            self.tally.batch(len(read), forward)
        for each in predicted:
            if isinstance(each, ServiceError):
                self.counts[each.code] += 1
            else:
                self._answered(each)
        return predicted, answered_by

    def busy(self, size: int, *, alone: bool) -> QueueFull | None:
        """Give what an upload of so many bytes would be refused with, if it came whole now; `alone`
        where it does not go with others, since a version is named or an explanation wanted.
        """
        if self.under_way >= self.settings.max_queue:
            return QueueFull(f"{self.under_way} predictions are under way already.", retry_after=1)
        if size > SMALL_BYTES:
            return self._photos.busy(self.settings.predict_timeout)
        return self._explained.busy(self.settings.predict_timeout) if alone else None

    def refused(self, busy: QueueFull) -> ServiceError:
        """Count one upload that was refused before it was read."""
        return self._counted(busy, 1)

    def close(self) -> None:
        for crew in (self._photos, self._explained, self._batches):
            crew.close()

    def _admit(self, images: int) -> float:
        """Give the time of the loop until which there must be an answer. Raises Busy.

        Each image of a batch has its share of time; a batch comes in whole.
        """
        if self.under_way >= self.settings.max_queue:
            busy = QueueFull(f"{self.under_way} predictions are under way already.", retry_after=1)
            raise self._counted(busy, images)
        self.under_way += images
        return asyncio.get_running_loop().time() + images * self.settings.predict_timeout

    def _answered(self, predicted: Predicted) -> None:
        seen, answer = predicted.seen, predicted.answer
        confidence = answer.probabilities[answer.digit]
        self.tally.image(answer.digit, confidence, seen.decode_seconds, seen.normalise_seconds)

    def _counted(self, error: ServiceError | TimeoutError, images: int) -> ServiceError:
        if isinstance(error, TimeoutError):
            limit = images * self.settings.predict_timeout
            error = DeadlineExceeded(f"There was no answer within {limit} s.")
        self.counts[error.code] += images
        return error

    async def _predict(
        self, upload: bytes | Seen, until: float, is_gone: Callable[[], bool]
    ) -> Predicted:
        predicted = None
        if _is_small(upload):
            predicted = await self.batcher.predict(upload, until, is_gone)
        if predicted is None:
            work = partial(_see, upload, self.settings.max_pixels)
            seen = await self._photos.do(work, until, is_gone)
            predicted = await self.batcher.predict(seen, until, is_gone)
        assert predicted is not None, "what was seen is answered"
        return predicted

    def _explain(
        self,
        upload: bytes | Seen,
        version: int | None,
        explain: bool,
        is_given_up: Callable[[], bool],
    ) -> Predicted:
        model = self.live.of(version)
        return read(upload, model, self.settings.max_pixels, is_given_up, explain=explain)

    def _predict_all(
        self, uploads: Sequence[bytes | Seen], version: int | None, is_given_up: Callable[[], bool]
    ) -> tuple[list[Predicted | ServiceError], int, float]:
        model = self.live.of(version)
        seen: list[Seen | ServiceError] = []
        for upload in uploads:
            go_on_unless(is_given_up)
            try:
                seen.append(_see(upload, self.settings.max_pixels, is_given_up))
            except ServiceError as refusal:
                seen.append(without_trace(refusal))  # its frames hold `seen`, and the image
        readable = [each.normalised.pixels for each in seen if isinstance(each, Seen)]
        started = time.perf_counter()
        answers = iter(model.answer(np.stack(readable)) if readable else [])
        forward = time.perf_counter() - started
        predicted = [
            each if isinstance(each, ServiceError) else Predicted(each, next(answers)) for each in seen
        ]
        return predicted, model.version, forward


def read(
    upload: bytes | Seen,
    model: Model,
    max_pixels: int,
    is_unwanted: Callable[[], bool] | None = None,
    *,
    explain: bool = False,
) -> Predicted:
    """Answer for one image, here and now. Raises as `see`."""
    seen = _see(upload, max_pixels, is_unwanted)
    pixels = seen.normalised.pixels
    started = time.perf_counter()
    (answer,) = model.answer(pixels[None])
    forward = Forward(started, time.perf_counter() - started, 1)
    saliency = model.saliency(pixels, answer.digit) if explain else None
    return Predicted(seen, answer, saliency, forward)


def _see(
    upload: bytes | Seen, max_pixels: int, is_unwanted: Callable[[], bool] | None = None
) -> Seen:
    return upload if isinstance(upload, Seen) else see(upload, max_pixels, is_unwanted)


def _is_small(upload: bytes | Seen) -> bool:
    return isinstance(upload, Seen) or len(upload) <= SMALL_BYTES
