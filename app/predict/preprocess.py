"""Preprocessing: upload to model input, and validation of images to be stored."""

import asyncio
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.config.settings import Settings
from app.errors import DeadlineExceeded, QueueFull
from app.image.decode import allocated_size, open_image, to_grey
from app.image.normalise import Normalised, normalise
from app.image.png import read_plain_png
from app.net import SIDE
from app.predict.thread_pool import AdmissionPool, raise_if_disconnected

SMALL_PIXELS: Final = 128 * 128
SMALL_BYTES: Final = 16 * 1024


class PreprocessedImage(NamedTuple):
    """The input of the network, and the scale from its grey image to the upload's pixels.

    `began` is a time of `time.perf_counter`; the durations are in seconds.
    """

    normalised: Normalised
    scale: float
    decode_seconds: float = 0.0
    normalise_seconds: float = 0.0
    began: float = 0.0


def from_mnist_pixels(pixels: NDArray[np.uint8]) -> PreprocessedImage:
    """Return (28, 28) uint8 pixels in MNIST's form as the network's input, unchanged."""
    box = (0, 0, SIDE, SIDE)
    return PreprocessedImage(Normalised(np.ascontiguousarray(pixels), False, box, (0.0, 0.0)), 1.0)


def preprocess(
    upload: bytes, max_pixels: int, is_cancelled: Callable[[], bool] | None = None
) -> PreprocessedImage:
    """Return an image of any size as model input.

    Raises NotAnImage, ImageTooLarge, BlankImage, ClientDisconnected.
    """
    started = time.perf_counter()
    preprocessed = preprocess_if_small(upload, max_pixels)
    return preprocessed or _preprocess_image(open_image(upload, max_pixels, is_cancelled), started)


def preprocess_if_small(upload: bytes, max_pixels: int) -> PreprocessedImage | None:
    """Return a small image preprocessed, or None if it needs a thread. Raises like `preprocess`."""
    if len(upload) > SMALL_BYTES:
        return None
    started = time.perf_counter()
    pixels = read_plain_png(upload, min(max_pixels, SMALL_PIXELS))
    if pixels is not None:
        return _preprocess_pixels(pixels, 1.0, started)
    image = open_image(upload, max_pixels)
    return (
        _preprocess_image(image, started)
        if math.prod(allocated_size(image)) <= SMALL_PIXELS
        else None
    )


def _preprocess_image(image: Image.Image, started: float) -> PreprocessedImage:
    grey = to_grey(image)
    return _preprocess_pixels(grey.pixels, grey.size[0] / grey.pixels.shape[1], started)


def _preprocess_pixels(
    pixels: NDArray[np.uint8], scale: float, started: float
) -> PreprocessedImage:
    decoded = time.perf_counter()
    normalised = normalise(pixels)
    ended = time.perf_counter()
    return PreprocessedImage(normalised, scale, decoded - started, ended - decoded, started)


class ImageValidator:
    """Decodes uploads that will be stored, a bounded number at a time.

    It runs with a lower priority than all predictions.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pool = AdmissionPool(1, "look")

    async def decode(self, upload: bytes, is_cancelled: Callable[[], bool]) -> NDArray[np.uint8]:
        """Return the (H, W) uint8 grey pixels of an image that contains ink.

        Raises NotAnImage, ImageTooLarge, BlankImage, QueueFull, DeadlineExceeded,
        ClientDisconnected.
        """
        if self._pool.images >= self.settings.max_queue:
            raise QueueFull(
                f"The queue is full: {self._pool.images} corrections are in flight. "
                "Try again in a second.",
                retry_after=1,
            )
        timeout = self.settings.predict_timeout
        deadline = asyncio.get_running_loop().time() + timeout
        work = partial(_decode, upload, self.settings.max_pixels)
        try:
            return await self._pool.submit(work, deadline, is_cancelled)
        except TimeoutError:
            raise DeadlineExceeded(
                f"The image was not decoded within {timeout:g} s. Try again, or send a smaller one."
            ) from None

    def close(self) -> None:
        self._pool.close()


def _decode(upload: bytes, max_pixels: int, is_cancelled: Callable[[], bool]) -> NDArray[np.uint8]:
    grey = to_grey(open_image(upload, max_pixels, is_cancelled)).pixels
    raise_if_disconnected(is_cancelled)
    normalise(grey)
    return grey
