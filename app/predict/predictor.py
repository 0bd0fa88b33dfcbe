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
from app.errors import DeadlineExceeded, QueueFull, ServiceError, without_trace
from app.predict.batcher import (
    Batcher,
    Forward,
    PendingRequest,
    PredictionOutcome,
    PredictionResult,
)
from app.predict.live_model import Live
from app.predict.model import Model
from app.predict.preprocess import SMALL_BYTES, PreprocessedImage, preprocess
from app.predict.thread_pool import AdmissionPool, raise_if_disconnected
from app.telemetry.metrics import Metrics

THREADS: Final = 2


def never_disconnected() -> bool:
    """Say of a client that is no connection that it is not gone."""
    return False


class Predictor:
    """Answers for uploads, a bounded number at a time. Belongs to one event loop.

    `counts` tells how many images were answered, and how many were refused, by the refusal's code.
    """

    def __init__(self, settings: Settings, live: Live, tally: Metrics | None = None) -> None:
        self.settings, self.live, self.tally = settings, live, tally or Metrics()
        self.batcher = Batcher(live, settings.max_pixels, self.tally)
        self.in_flight = 0
        self.counts = self.tally.images
        self._large_image_pool = AdmissionPool(THREADS, "photo")
        # Threads of their own: small images wait for no photo, and photos for no long batch.
        self._explain_pool = AdmissionPool(1, "small", low_priority=False)
        self._batches = AdmissionPool(1, "batch")

    async def predict(
        self,
        upload: bytes | PreprocessedImage,
        version: int | None = None,
        *,
        explain: bool = False,
        is_gone: Callable[[], bool] = never_disconnected,
    ) -> PredictionResult:
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
                crew = self._explain_pool if _is_small(upload) else self._large_image_pool
                predicted = await crew.submit(work, until, is_gone)
                if predicted.forward:
                    self.tally.batch(1, predicted.forward.seconds)
        except (ServiceError, TimeoutError) as error:
            raise self._counted(error, 1) from None
        finally:
            self.in_flight -= 1
        self._answered(predicted)
        return predicted

    def predict_with_callback(
        self, upload: bytes, tell: Callable[[PredictionOutcome], None], is_gone: Callable[[], bool]
    ) -> None:
        """Answer for one small image, with the live version, by a call of `tell` and no task.

        What is told is the prediction, what `predict` would raise, or None: `predict` then, since
        the image takes a while. Raises Busy.
        """
        until = self._admit(1)
        since = until - self.settings.predict_timeout
        self.batcher.enqueue(PendingRequest(upload, partial(self._told, tell), until, is_gone, since))

    def _told(self, tell: Callable[[PredictionOutcome], None], outcome: PredictionOutcome) -> None:
        self.in_flight -= 1
        if isinstance(outcome, PredictionResult):
            self._answered(outcome)
        elif isinstance(outcome, ServiceError | TimeoutError):
            outcome = self._counted(outcome, 1)
        tell(outcome)

    async def predict_batch(
        self,
        uploads: Sequence[bytes | PreprocessedImage],
        version: int | None = None,
        *,
        is_gone: Callable[[], bool] = never_disconnected,
    ) -> tuple[list[PredictionResult | ServiceError], int]:
        """Answer for many images with one version: a prediction or a refusal each, in their order.
        What is `Seen` already goes to the network as it is.

        Raises NotFound, Conflict, NotReady, Busy, DeadlineExceeded, ClientGone.
        """
        until = self._admit(len(uploads))
        try:
            work = partial(self._predict_all, uploads, version)
            predicted, answered_by, forward = await self._batches.submit(
                work, until, is_gone, len(uploads)
            )
        except (ServiceError, TimeoutError) as error:
            raise self._counted(error, len(uploads)) from None
        finally:
            self.in_flight -= len(uploads)
        read = [each for each in predicted if isinstance(each, PredictionResult)]
        if read:
            self.tally.batch(len(read), forward)
        for each in predicted:
            if isinstance(each, ServiceError):
                self.counts[each.code] += 1
            else:
                self._answered(each)
        return predicted, answered_by

    def check_overload(self, size: int, *, alone: bool) -> QueueFull | None:
        """Give what an upload of so many bytes would be refused with, if it came whole now; `alone`
        where it does not go with others, since a version is named or an explanation wanted.
        """
        if self.in_flight >= self.settings.max_queue:
            return QueueFull(f"{self.in_flight} predictions are under way already.", retry_after=1)
        if size > SMALL_BYTES:
            return self._large_image_pool.check_capacity(self.settings.predict_timeout)
        return self._explain_pool.check_capacity(self.settings.predict_timeout) if alone else None

    def count_rejection(self, busy: QueueFull) -> ServiceError:
        """Count one upload that was refused before it was read."""
        return self._counted(busy, 1)

    def close(self) -> None:
        for crew in (self._large_image_pool, self._explain_pool, self._batches):
            crew.close()

    def _admit(self, images: int) -> float:
        """Give the time of the loop until which there must be an answer. Raises Busy.

        Each image of a batch has its share of time; a batch comes in whole.
        """
        if self.in_flight >= self.settings.max_queue:
            busy = QueueFull(f"{self.in_flight} predictions are under way already.", retry_after=1)
            raise self._counted(busy, images)
        self.in_flight += images
        return asyncio.get_running_loop().time() + images * self.settings.predict_timeout

    def _answered(self, predicted: PredictionResult) -> None:
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
        self, upload: bytes | PreprocessedImage, until: float, is_gone: Callable[[], bool]
    ) -> PredictionResult:
        predicted = None
        if _is_small(upload):
            predicted = await self.batcher.predict(upload, until, is_gone)
        if predicted is None:
            work = partial(_see, upload, self.settings.max_pixels)
            seen = await self._large_image_pool.submit(work, until, is_gone)
            predicted = await self.batcher.predict(seen, until, is_gone)
        assert predicted is not None, "what was seen is answered"
        return predicted

    def _explain(
        self,
        upload: bytes | PreprocessedImage,
        version: int | None,
        explain: bool,
        is_given_up: Callable[[], bool],
    ) -> PredictionResult:
        model = self.live.get(version)
        return predict_sync(upload, model, self.settings.max_pixels, is_given_up, explain=explain)

    def _predict_all(
        self, uploads: Sequence[bytes | PreprocessedImage], version: int | None, is_given_up: Callable[[], bool]
    ) -> tuple[list[PredictionResult | ServiceError], int, float]:
        model = self.live.get(version)
        seen: list[PreprocessedImage | ServiceError] = []
        for upload in uploads:
            raise_if_disconnected(is_given_up)
            try:
                seen.append(_see(upload, self.settings.max_pixels, is_given_up))
            except ServiceError as refusal:
                seen.append(without_trace(refusal))  # its frames hold `seen`, and the image
        readable = [each.normalised.pixels for each in seen if isinstance(each, PreprocessedImage)]
        started = time.perf_counter()
        answers = iter(model.answer(np.stack(readable)) if readable else [])
        forward = time.perf_counter() - started
        predicted = [
            each if isinstance(each, ServiceError) else PredictionResult(each, next(answers)) for each in seen
        ]
        return predicted, model.version, forward


def predict_sync(
    upload: bytes | PreprocessedImage,
    model: Model,
    max_pixels: int,
    is_unwanted: Callable[[], bool] | None = None,
    *,
    explain: bool = False,
) -> PredictionResult:
    """Answer for one image, here and now. Raises as `see`."""
    seen = _see(upload, max_pixels, is_unwanted)
    pixels = seen.normalised.pixels
    started = time.perf_counter()
    (answer,) = model.answer(pixels[None])
    forward = Forward(started, time.perf_counter() - started, 1)
    saliency = model.saliency(pixels, answer.digit) if explain else None
    return PredictionResult(seen, answer, saliency, forward)


def _see(
    upload: bytes | PreprocessedImage, max_pixels: int, is_unwanted: Callable[[], bool] | None = None
) -> PreprocessedImage:
    return upload if isinstance(upload, PreprocessedImage) else preprocess(upload, max_pixels, is_unwanted)


def _is_small(upload: bytes | PreprocessedImage) -> bool:
    return isinstance(upload, PreprocessedImage) or len(upload) <= SMALL_BYTES
