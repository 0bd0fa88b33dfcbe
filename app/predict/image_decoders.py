"""Pool of decoder processes: queues by size, deadlines, and replacement of those that die."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.config.settings import Settings
from app.decoders.budget import Lane
from app.decoders.fork_server import ForkServer
from app.decoders.process import Decoder, DecoderDied, InvalidReply
from app.decoders.replies import Deferral, Digit, GreyPixels, Refusal, Reply, Segments
from app.errors import (
    BlankImage,
    ImageTooLarge,
    NotAnImage,
    NotReady,
    QueueFull,
    ServiceError,
    TooManyDigits,
)
from app.image.normalise import Normalised
from app.image.segmentation.box import Box
from app.net import SIDE
from app.predict.preprocess import SMALL_BYTES, PreprocessedImage
from app.predict.queues.admission import raise_if_disconnected
from app.predict.queues.urgency_queue import Urgency, UrgencyQueue
from app.telemetry.metrics import Metrics

# Seconds between two checks whether the client of a running decoder disconnected.
POLL_INTERVAL: Final = 0.05
# A decoder that something else killed, such as the system for its memory, is not the image's fault.
MAX_ATTEMPTS: Final = 3
ERRORS_BY_CODE: Final = {
    error.code: error for error in (NotAnImage, ImageTooLarge, BlankImage, TooManyDigits)
}
log = logging.getLogger(__name__)


class ImageDecoders:
    """Decodes and normalises uploads in other processes. Belongs to one event loop.

    One decoder is for small uploads alone: they do not wait for photos. Of large images, one is
    decoded at a time.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.max_pixels, self.timeout = settings.max_pixels, settings.predict_timeout
        self.metrics = metrics
        decoders = settings.effective_decoders
        self._fork_server = ForkServer()
        self._queues = {
            Lane.SMALL: UrgencyQueue(1),
            Lane.PHOTO: UrgencyQueue(decoders),
            Lane.LARGE: UrgencyQueue(1),
        }
        self._idle: dict[Lane, list[Decoder | None]] = {
            Lane.SMALL: [None],
            Lane.PHOTO: [None] * decoders,
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ImageDecoders"]:
        """Start all decoders, and end them in the end. Raises NotReady."""
        try:
            for idle in self._idle.values():
                idle[:] = [self._fork_server.fork() for _ in idle]
            yield self
        finally:
            self._fork_server.close()

    async def wait_until_ready(self) -> None:
        """Wait until the decoders have started. Raises NotReady if they cannot."""
        await self._fork_server.wait_until_ready()

    @property
    def processes(self) -> int:
        """The number of decoders that run."""
        return len(self._fork_server.decoders)

    def check_capacity(self, size: int, remaining: float) -> QueueFull | None:
        """Return an error if an upload of `size` bytes would be rejected now, else None."""
        return self._queues[_first_lane(size)].admission.check_capacity(remaining)

    async def read_digit(
        self,
        upload: bytes,
        deadline: float,
        is_cancelled: Callable[[], bool],
        urgency: Urgency = Urgency.SINGLE,
    ) -> PreprocessedImage:
        """Return an image of any size as model input; `deadline` is a time of the event loop.

        Raises NotAnImage, ImageTooLarge, BlankImage, QueueFull, NotReady, TimeoutError,
        ClientDisconnected.
        """
        reply, content = await self._decode("digit", upload, deadline, is_cancelled, urgency)
        assert isinstance(reply, Digit)
        pixels = np.frombuffer(content, np.uint8).reshape(SIDE, SIDE)
        return PreprocessedImage(
            Normalised(pixels, reply.inverted, Box(*reply.box), reply.shift, reply.digit_count),
            reply.scale,
            reply.decode_seconds,
            reply.normalise_seconds,
            reply.began,
        )

    async def read_grey(
        self, upload: bytes, deadline: float, is_cancelled: Callable[[], bool]
    ) -> NDArray[np.uint8]:
        """Return the (H, W) uint8 grey pixels of an image that contains ink.

        Raises the errors of `read_digit`.
        """
        reply, content = await self._decode(
            "grey", upload, deadline, is_cancelled, Urgency.CORRECTION
        )
        assert isinstance(reply, GreyPixels)
        return np.frombuffer(content, np.uint8).reshape(reply.height, reply.width)

    async def segment(
        self, upload: bytes, deadline: float, is_cancelled: Callable[[], bool]
    ) -> tuple[Segments, bytes]:
        """Return the segmentation graphs of an image's lines, for `graphs.unpack`.

        Segmenting lines takes longer than finding one digit, so it lets those go first, as a batch
        does.

        Raises TooManyDigits and the errors of `read_digit`.
        """
        reply, content = await self._decode(
            "segments", upload, deadline, is_cancelled, Urgency.BATCH
        )
        assert isinstance(reply, Segments)
        return reply, content

    async def _decode(
        self,
        operation: str,
        upload: bytes,
        deadline: float,
        is_cancelled: Callable[[], bool],
        urgency: Urgency,
    ) -> tuple[Reply, bytes]:
        """Return the reply of a decoder, from the first lane that does not defer the image."""
        lane = _first_lane(len(upload))
        while True:
            head = {"operation": operation, "lane": lane.name, "max_pixels": self.max_pixels}
            async with AsyncExitStack() as slots:
                if lane is Lane.LARGE:
                    slot = self._queues[lane].slot(deadline, urgency, is_cancelled)
                    await slots.enter_async_context(slot)
                process_lane = Lane.SMALL if lane is Lane.SMALL else Lane.PHOTO
                slot = self._queues[process_lane].slot(deadline, urgency, is_cancelled)
                await slots.enter_async_context(slot)
                reply, content = await self._run(process_lane, head, upload, deadline, is_cancelled)
            if isinstance(reply, Refusal):
                raise _refusal(reply)
            if not isinstance(reply, Deferral):
                return reply, content
            if (
                Lane[reply.lane] <= lane
            ):  # else one that runs an attacker's code could go on forever
                raise _unreadable()
            lane = Lane[reply.lane]

    async def _run(
        self,
        lane: Lane,
        head: dict[str, Any],
        upload: bytes,
        deadline: float,
        is_cancelled: Callable[[], bool],
    ) -> tuple[Reply, bytes]:
        # Of a batch, too, each image has its own time-out once it is decoded.
        deadline = min(deadline, asyncio.get_running_loop().time() + self.timeout)
        for _ in range(MAX_ATTEMPTS):
            decoder = self._idle[lane].pop() or self._try_fork(lane)
            reason = "cancelled"
            try:
                reply, content = await _exchange(decoder, head, upload, deadline, is_cancelled)
                reason = "memory" if reply.last else ""
                return reply, content
            except DecoderDied as death:
                reason = "crash" if _is_crash(death) else "killed"
                log.warning("decoder died: exit_code=%s upload_bytes=%d", death.code, len(upload))
                if reason == "crash":
                    raise _unreadable() from None
            except InvalidReply as error:
                reason = "crash"
                log.error("decoder killed for its invalid reply: %s", error)
                raise _unreadable() from None
            except TimeoutError:
                reason = "deadline"
                raise
            finally:
                self._put_back(lane, decoder, reason)
        raise _unreadable()

    def _try_fork(self, lane: Lane) -> Decoder:
        try:
            return self._fork_server.fork()
        except NotReady:
            self._idle[lane].append(None)  # the next upload tries again
            raise

    def _put_back(self, lane: Lane, decoder: Decoder, reason: str) -> None:
        """Make a decoder available again, or if there is a `reason`, another one in its place."""
        replacement: Decoder | None = decoder
        if reason:
            self.metrics.decoder_restarts[reason] += 1
            self._fork_server.kill(decoder)
            replacement = None
            with suppress(NotReady):
                replacement = self._fork_server.fork()
        self._idle[lane].append(replacement)


async def _exchange(
    decoder: Decoder,
    head: dict[str, Any],
    upload: bytes,
    deadline: float,
    is_cancelled: Callable[[], bool],
) -> tuple[Reply, bytes]:
    """Exchange a request for a reply. Raises TimeoutError, ClientDisconnected."""
    task = asyncio.create_task(decoder.exchange(head, upload))
    try:
        async with asyncio.timeout_at(deadline):
            while not (await asyncio.wait({task}, timeout=POLL_INTERVAL))[0]:
                raise_if_disconnected(is_cancelled)
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})  # the loop lets go of the socket, which may be closed next


def _first_lane(size: int) -> Lane:
    return Lane.SMALL if size <= SMALL_BYTES else Lane.PHOTO


def _is_crash(death: DecoderDied) -> bool:
    return death.code is not None and death.code != -signal.SIGKILL


def _refusal(reply: Refusal) -> ServiceError:
    error = ERRORS_BY_CODE.get(reply.code)
    if error is None:
        raise RuntimeError(f"decoder failed: {reply.detail}")
    return error(reply.detail)


def _unreadable() -> NotAnImage:
    return NotAnImage(
        "The image could not be decoded: its decoder crashed. Send it as a PNG or JPEG."
    )
