"""The predict path: decode → normalise → batch → MyNet → answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from typing import Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.config.settings import Settings
from app.errors import (
    BlankImage,
    DeadlineExceeded,
    ImageTooLarge,
    NotAnImage,
    QueueFull,
    ServiceError,
    drop_traceback,
)
from app.predict.answers import BatchAnswers
from app.predict.batcher import (
    Batcher,
    Forward,
    PendingRequest,
    PredictionOutcome,
    PredictionResult,
    answer_images,
    count_answers,
)
from app.predict.image_decoders import ImageDecoders
from app.predict.live_model import LiveModel
from app.predict.model import Model
from app.predict.preprocess import SMALL_BYTES, PreprocessedImage, preprocess_if_small
from app.predict.preprocess_batch import preprocess_batch
from app.predict.queues.admission import raise_if_disconnected
from app.predict.queues.thread_pool import AdmissionPool
from app.predict.queues.urgency_queue import Urgency
from app.telemetry.metrics import Metrics

IMAGE_ERRORS: Final = (NotAnImage, ImageTooLarge, BlankImage)
# Images of a batch that are preprocessed together, between two looks at the connection.
CHUNK: Final = 64
BatchInput: TypeAlias = PreprocessedImage | ServiceError | None  # None: for a decoder
BatchOutput: TypeAlias = tuple[list[PredictionResult | ServiceError], BatchAnswers, float]
T = TypeVar("T")


def never_disconnected() -> bool:
    """Return False, for callers without a connection that could close."""
    return False


class Predictor:
    """Predicts digits for a bounded number of uploads at a time. Belongs to one event loop.

    `counts` holds the number of answered images, and of rejected ones by error code.
    """

    def __init__(
        self, settings: Settings, live: LiveModel, metrics: Metrics, decoders: ImageDecoders
    ) -> None:
        self.settings, self.live, self.metrics = settings, live, metrics
        self.decoders = decoders
        self.batcher = Batcher(live, settings.max_pixels, self.metrics)
        self.in_flight = 0
        self.counts = self.metrics.images
        # Separate threads: small images do not wait for a long batch.
        self._explain_pool = AdmissionPool(1, "small")
        self._batches = AdmissionPool(1, "batch")

    async def predict(
        self,
        upload: bytes | PreprocessedImage,
        version: int | None = None,
        *,
        explain: bool = False,
        needs_decoder: bool = False,
        is_cancelled: Callable[[], bool] = never_disconnected,
    ) -> PredictionResult:
        """Return the prediction for one image; by default of the live version.

        A `PreprocessedImage` goes to the network unchanged. An upload `needs_decoder` if
        `predict_with_callback` said so.

        Raises NotAnImage, ImageTooLarge, BlankImage, NotFound, Conflict, NotReady, QueueFull,
        DeadlineExceeded, ClientDisconnected.
        """

        def run(deadline: float) -> Awaitable[PredictionResult]:
            if version is None and not explain:
                is_small = not needs_decoder and _is_small(upload)
                return self._predict(upload, is_small, deadline, is_cancelled)
            return self._predict_unbatched(upload, version, deadline, is_cancelled, explain=explain)

        return await self._run_admitted(1, run)

    def predict_with_callback(
        self,
        upload: bytes,
        callback: Callable[[PredictionOutcome], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        """Predict one small image without a task; by the live version, and for a `callback`.

        The callback gets the prediction, the error that `predict` would raise, or None if the image
        needs a decoder: call `predict` then. Raises QueueFull.
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
        if isinstance(outcome, (ServiceError, TimeoutError)):
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
        images = len(uploads)
        results, answers, seconds = await self._run_admitted(
            images, partial(self._predict_all, uploads, version, is_cancelled)
        )
        read = [result.preprocessed for result in results if isinstance(result, PredictionResult)]
        if read:
            count_answers(self.metrics, read, answers, seconds)
        for result in results:
            if isinstance(result, ServiceError):
                self.counts[result.code] += 1
        return results, answers.version

    async def predict_pixels(
        self,
        pixels: NDArray[np.uint8],
        version: int | None = None,
        *,
        is_cancelled: Callable[[], bool] = never_disconnected,
    ) -> BatchAnswers:
        """Return the answers for (B, 28, 28) pixels in MNIST's form, which go to the network.

        Raises NotFound, Conflict, NotReady, QueueFull, DeadlineExceeded, ClientDisconnected.
        """
        images = len(pixels)
        work = partial(self._answer, pixels, version)

        def run(deadline: float) -> Awaitable[tuple[BatchAnswers, float]]:
            return self._batches.submit(work, deadline, is_cancelled, images)

        answers, seconds = await self._run_admitted(images, run)
        self.metrics.batch(images, seconds)
        no_seconds = np.zeros(images)
        self.metrics.answers(answers.digits, answers.confidences, no_seconds, no_seconds)
        return answers

    async def _run_admitted(self, images: int, run: Callable[[float], Awaitable[T]]) -> T:
        """Admit the images, await `run` with their deadline, and count the error if it fails."""
        deadline = self._admit(images)
        try:
            return await run(deadline)
        except (ServiceError, TimeoutError) as error:
            raise self._count_error(error, images) from None
        finally:
            self.in_flight -= images

    def check_overload(self, size: int, *, unbatched: bool) -> QueueFull | None:
        """Return the error with which an upload of `size` bytes would be rejected now, or None.

        `unbatched` is True if it names a version or asks for an explanation, and so joins no batch.
        """
        if self.in_flight >= self.settings.max_queue:
            return self._queue_full()
        if size > SMALL_BYTES:
            return self.decoders.check_capacity(size, self.settings.predict_timeout)
        admission = self._explain_pool.admission
        return admission.check_capacity(self.settings.predict_timeout) if unbatched else None

    def count_rejection(self, overload: QueueFull) -> ServiceError:
        """Count an upload that was rejected before its body was read, and return the error."""
        return self._count_error(overload, 1)

    def close(self) -> None:
        for pool in (self._explain_pool, self._batches):
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

    def _count_error(self, error: ServiceError | TimeoutError, images: int) -> ServiceError:
        if isinstance(error, TimeoutError):
            error = self._deadline_exceeded(images)
        self.counts[error.code] += images
        return error

    def _deadline_exceeded(self, images: int) -> DeadlineExceeded:
        limit = images * self.settings.predict_timeout
        return DeadlineExceeded(
            f"The prediction did not finish within {limit:g} s. Try again, or send fewer images."
        )

    async def _predict(
        self,
        upload: bytes | PreprocessedImage,
        is_small: bool,
        deadline: float,
        is_cancelled: Callable[[], bool],
    ) -> PredictionResult:
        result = None
        if is_small:
            result = await self.batcher.predict(upload, deadline, is_cancelled)
        if result is None:
            assert isinstance(upload, bytes), "only an upload needs a decoder"
            preprocessed = await self.decoders.read_digit(upload, deadline, is_cancelled)
            result = await self.batcher.predict(preprocessed, deadline, is_cancelled)
        assert result is not None, "a preprocessed image is always answered"
        return result

    async def _predict_unbatched(
        self,
        upload: bytes | PreprocessedImage,
        version: int | None,
        deadline: float,
        is_cancelled: Callable[[], bool],
        *,
        explain: bool,
    ) -> PredictionResult:
        preprocessed = (
            upload
            if isinstance(upload, PreprocessedImage)
            else preprocess_if_small(upload, self.settings.max_pixels)
            or await self.decoders.read_digit(upload, deadline, is_cancelled)
        )

        def work(_is_cancelled: Callable[[], bool]) -> PredictionResult:
            return _explain(preprocessed, self.live.get(version), explain=explain)

        result = await self._explain_pool.submit(work, deadline, is_cancelled)
        if result.forward:
            count_answers(self.metrics, [result.preprocessed], result.batch, result.forward.seconds)
        return result

    async def _predict_all(
        self,
        uploads: Sequence[bytes | PreprocessedImage],
        version: int | None,
        is_cancelled: Callable[[], bool],
        deadline: float,
    ) -> BatchOutput:
        """Read the small images in a thread, the others in decoders, and answer all of them."""
        images = len(uploads)
        work = partial(self._read_small_images, uploads, version)
        model, inputs, output = await self._batches.submit(work, deadline, is_cancelled, images)
        if output is None:
            await self._decode_others(uploads, inputs, deadline, is_cancelled)
            output = await self._batches.submit(
                lambda _: _answer_all(inputs, model), deadline, is_cancelled, images
            )
        return output

    def _read_small_images(
        self,
        uploads: Sequence[bytes | PreprocessedImage],
        version: int | None,
        is_cancelled: Callable[[], bool],
    ) -> tuple[Model, list[BatchInput], BatchOutput | None]:
        """Return the model, its inputs, and its answers unless an image needs a decoder."""
        model = self.live.get(version)
        inputs: list[BatchInput] = []
        for start in range(0, len(uploads), CHUNK):
            raise_if_disconnected(is_cancelled)
            chunk = uploads[start : start + CHUNK]
            for outcome in preprocess_batch(chunk, self.settings.max_pixels):
                if isinstance(outcome, Exception) and not isinstance(outcome, ServiceError):
                    raise outcome
                inputs.append(outcome)
        needs_decoder = any(item is None for item in inputs)
        return model, inputs, None if needs_decoder else _answer_all(inputs, model)

    def _answer(
        self, pixels: NDArray[np.uint8], version: int | None, is_cancelled: Callable[[], bool]
    ) -> tuple[BatchAnswers, float]:
        model = self.live.get(version)
        raise_if_disconnected(is_cancelled)
        started = time.perf_counter()
        answers = model.answer(pixels)
        return answers, time.perf_counter() - started

    async def _decode_others(
        self,
        uploads: Sequence[bytes | PreprocessedImage],
        inputs: list[BatchInput],
        deadline: float,
        is_cancelled: Callable[[], bool],
    ) -> None:
        """Replace each None in `inputs`: by as many images at a time as there are decoders."""
        places = iter([place for place, item in enumerate(inputs) if item is None])

        async def decode() -> None:
            for place in places:
                upload = uploads[place]
                assert isinstance(upload, bytes), "only an upload needs a decoder"
                try:
                    inputs[place] = await self.decoders.read_digit(
                        upload, deadline, is_cancelled, Urgency.BATCH
                    )
                except IMAGE_ERRORS as refusal:
                    inputs[place] = drop_traceback(refusal)  # its frames hold the upload
                except TimeoutError:
                    if asyncio.get_running_loop().time() >= deadline:
                        raise
                    inputs[place] = self._deadline_exceeded(1)

        tasks = [asyncio.create_task(decode()) for _ in range(self.settings.effective_decoders)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()


def _answer_all(inputs: Sequence[BatchInput], model: Model) -> BatchOutput:
    """Return the results for the images, in order, the answers, and the forward pass's seconds."""
    images = [item for item in inputs if isinstance(item, PreprocessedImage)]
    started = time.perf_counter()
    answers = answer_images(model, images) if images else BatchAnswers.none(model.version)
    seconds = time.perf_counter() - started
    rows = count()
    results = [
        PredictionResult(item, answers, next(rows)) if isinstance(item, PreprocessedImage) else item
        for item in inputs
        if item is not None
    ]
    return results, answers, seconds


def _explain(preprocessed: PreprocessedImage, model: Model, *, explain: bool) -> PredictionResult:
    """Return the prediction for one image, with what explains it if that was requested."""
    pixels = preprocessed.normalised.pixels
    started = time.perf_counter()
    answers = answer_images(model, [preprocessed])
    forward = Forward(started, time.perf_counter() - started, 1)
    if not explain:
        return PredictionResult(preprocessed, answers, 0, forward=forward)
    saliency = model.network.saliency(pixels, answers[0].digit)
    activations = model.network.activations(pixels)
    return PredictionResult(preprocessed, answers, 0, saliency, forward, activations)


def _is_small(upload: bytes | PreprocessedImage) -> bool:
    return isinstance(upload, PreprocessedImage) or len(upload) <= SMALL_BYTES
