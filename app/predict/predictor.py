"""The predict path: decode → normalise → batch → MyNet → answer."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np

from app.config.settings import Settings
from app.errors import DeadlineExceeded, QueueFull, ServiceError, drop_traceback
from app.predict.batcher import (
    Batcher,
    Forward,
    PendingRequest,
    PredictionOutcome,
    PredictionResult,
)
from app.predict.live_model import LiveModel
from app.predict.model import Model
from app.predict.preprocess import SMALL_BYTES, PreprocessedImage, preprocess
from app.predict.thread_pool import AdmissionPool, raise_if_disconnected
from app.telemetry.metrics import Metrics

THREADS: Final = 2


def never_disconnected() -> bool:
    """Return False, for callers without a connection that could close."""
    return False


class Predictor:
    """Predicts digits for a bounded number of uploads at a time. Belongs to one event loop.

    `counts` holds the number of answered images, and of rejected ones by error code.
    """

    def __init__(self, settings: Settings, live: LiveModel, metrics: Metrics) -> None:
        self.settings, self.live, self.metrics = settings, live, metrics
        self.batcher = Batcher(live, settings.max_pixels, self.metrics)
        self.in_flight = 0
        self.counts = self.metrics.images
        self._large_image_pool = AdmissionPool(THREADS, "photo")
        # Separate threads: small images do not wait for photos, nor photos for a long batch.
        self._explain_pool = AdmissionPool(1, "small", low_priority=False)
        self._batches = AdmissionPool(1, "batch")

    async def predict(
        self,
        upload: bytes | PreprocessedImage,
        version: int | None = None,
        *,
        explain: bool = False,
        is_cancelled: Callable[[], bool] = never_disconnected,
    ) -> PredictionResult:
        """Return the prediction for one image; by default of the live version.

        A `PreprocessedImage` goes to the network unchanged.

        Raises NotAnImage, ImageTooLarge, BlankImage, NotFound, Conflict, NotReady, QueueFull,
        DeadlineExceeded, ClientDisconnected.
        """
        deadline = self._admit(1)
        try:
            if version is None and not explain:
                result = await self._predict(upload, deadline, is_cancelled)
            else:
                work = partial(self._explain, upload, version, explain)
                pool = self._explain_pool if _is_small(upload) else self._large_image_pool
                result = await pool.submit(work, deadline, is_cancelled)
                if result.forward:
                    self.metrics.batch(1, result.forward.seconds)
        except (ServiceError, TimeoutError) as error:
            raise self._count_error(error, 1) from None
        finally:
            self.in_flight -= 1
        self._count_answer(result)
        return result

    def predict_with_callback(
        self,
        upload: bytes,
        callback: Callable[[PredictionOutcome], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        """Predict one small image without a task; by the live version, and for a `callback`.

        The callback gets the prediction, the error that `predict` would raise, or None if the image
        needs a thread: call `predict` then. Raises QueueFull.
        """
        deadline = self._admit(1)
        queued_at = deadline - self.settings.predict_timeout
        self.batcher.enqueue(
            PendingRequest(
                upload, partial(self._on_outcome, callback), deadline, is_cancelled, queued_at
            )
        )

    def _on_outcome(
        self, callback: Callable[[PredictionOutcome], None], outcome: PredictionOutcome
    ) -> None:
        self.in_flight -= 1
        if isinstance(outcome, PredictionResult):
            self._count_answer(outcome)
        elif isinstance(outcome, ServiceError | TimeoutError):
            outcome = self._count_error(outcome, 1)
        callback(outcome)

    async def predict_batch(
        self,
        uploads: Sequence[bytes | PreprocessedImage],
        version: int | None = None,
        *,
        is_cancelled: Callable[[], bool] = never_disconnected,
    ) -> tuple[list[PredictionResult | ServiceError], int]:
        """Return a prediction or an error for each image, in order, and the version of all.

        A `PreprocessedImage` goes to the network unchanged.

        Raises NotFound, Conflict, NotReady, QueueFull, DeadlineExceeded, ClientDisconnected.
        """
        deadline = self._admit(len(uploads))
        try:
            work = partial(self._predict_all, uploads, version)
            results, model_version, forward_seconds = await self._batches.submit(
                work, deadline, is_cancelled, len(uploads)
            )
        except (ServiceError, TimeoutError) as error:
            raise self._count_error(error, len(uploads)) from None
        finally:
            self.in_flight -= len(uploads)
        predictions = [result for result in results if isinstance(result, PredictionResult)]
        if predictions:
            self.metrics.batch(len(predictions), forward_seconds)
        for result in results:
            if isinstance(result, ServiceError):
                self.counts[result.code] += 1
            else:
                self._count_answer(result)
        return results, model_version

    def check_overload(self, size: int, *, unbatched: bool) -> QueueFull | None:
        """Return the error with which an upload of `size` bytes would be rejected now, or None.

        `unbatched` is True if it names a version or asks for an explanation, and so joins no batch.
        """
        if self.in_flight >= self.settings.max_queue:
            return self._queue_full()
        if size > SMALL_BYTES:
            return self._large_image_pool.check_capacity(self.settings.predict_timeout)
        return (
            self._explain_pool.check_capacity(self.settings.predict_timeout) if unbatched else None
        )

    def count_rejection(self, overload: QueueFull) -> ServiceError:
        """Count an upload that was rejected before its body was read, and return the error."""
        return self._count_error(overload, 1)

    def close(self) -> None:
        for pool in (self._large_image_pool, self._explain_pool, self._batches):
            pool.close()

    def _admit(self, images: int) -> float:
        """Return the deadline as a time of the event loop. Raises QueueFull.

        Each image of a batch adds one time-out. A batch is admitted as a whole.
        """
        if self.in_flight >= self.settings.max_queue:
            raise self._count_error(self._queue_full(), images)
        self.in_flight += images
        return asyncio.get_running_loop().time() + images * self.settings.predict_timeout

    def _queue_full(self) -> QueueFull:
        return QueueFull(
            f"The queue is full: {self.in_flight} predictions are in flight. "
            "Try again in a second.",
            retry_after=1,
        )

    def _count_answer(self, result: PredictionResult) -> None:
        preprocessed, answer = result.preprocessed, result.answer
        confidence = answer.probabilities[answer.digit]
        self.metrics.image(
            answer.digit, confidence, preprocessed.decode_seconds, preprocessed.normalise_seconds
        )

    def _count_error(self, error: ServiceError | TimeoutError, images: int) -> ServiceError:
        if isinstance(error, TimeoutError):
            limit = images * self.settings.predict_timeout
            error = DeadlineExceeded(
                f"The prediction did not finish within {limit:g} s. "
                "Try again, or send fewer images."
            )
        self.counts[error.code] += images
        return error

    async def _predict(
        self, upload: bytes | PreprocessedImage, deadline: float, is_cancelled: Callable[[], bool]
    ) -> PredictionResult:
        result = None
        if _is_small(upload):
            result = await self.batcher.predict(upload, deadline, is_cancelled)
        if result is None:
            work = partial(_preprocess, upload, self.settings.max_pixels)
            preprocessed = await self._large_image_pool.submit(work, deadline, is_cancelled)
            result = await self.batcher.predict(preprocessed, deadline, is_cancelled)
        assert result is not None, "a preprocessed image is always answered"
        return result

    def _explain(
        self,
        upload: bytes | PreprocessedImage,
        version: int | None,
        explain: bool,
        is_cancelled: Callable[[], bool],
    ) -> PredictionResult:
        model = self.live.get(version)
        return predict_sync(upload, model, self.settings.max_pixels, is_cancelled, explain=explain)

    def _predict_all(
        self,
        uploads: Sequence[bytes | PreprocessedImage],
        version: int | None,
        is_cancelled: Callable[[], bool],
    ) -> tuple[list[PredictionResult | ServiceError], int, float]:
        model = self.live.get(version)
        inputs: list[PreprocessedImage | ServiceError] = []
        for upload in uploads:
            raise_if_disconnected(is_cancelled)
            try:
                inputs.append(_preprocess(upload, self.settings.max_pixels, is_cancelled))
            except ServiceError as refusal:
                inputs.append(drop_traceback(refusal))  # its frames hold the decoded image
        batch = [item.normalised.pixels for item in inputs if isinstance(item, PreprocessedImage)]
        started = time.perf_counter()
        answers = iter(model.answer(np.stack(batch)) if batch else [])
        forward_seconds = time.perf_counter() - started
        results = [
            item if isinstance(item, ServiceError) else PredictionResult(item, next(answers))
            for item in inputs
        ]
        return results, model.version, forward_seconds


def predict_sync(
    upload: bytes | PreprocessedImage,
    model: Model,
    max_pixels: int,
    is_cancelled: Callable[[], bool] | None = None,
    *,
    explain: bool = False,
) -> PredictionResult:
    """Return the prediction for one image, synchronously. Raises the errors of `preprocess`."""
    preprocessed = _preprocess(upload, max_pixels, is_cancelled)
    pixels = preprocessed.normalised.pixels
    started = time.perf_counter()
    (answer,) = model.answer(pixels[None])
    forward = Forward(started, time.perf_counter() - started, 1)
    saliency = model.network.saliency(pixels, answer.digit) if explain else None
    return PredictionResult(preprocessed, answer, saliency, forward)


def _preprocess(
    upload: bytes | PreprocessedImage,
    max_pixels: int,
    is_cancelled: Callable[[], bool] | None = None,
) -> PreprocessedImage:
    return (
        upload
        if isinstance(upload, PreprocessedImage)
        else preprocess(upload, max_pixels, is_cancelled)
    )


def _is_small(upload: bytes | PreprocessedImage) -> bool:
    return isinstance(upload, PreprocessedImage) or len(upload) <= SMALL_BYTES
