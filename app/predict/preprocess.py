"""Preprocessing: upload to model input, of images that the event loop reads itself."""

import time
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import BlankImage
from app.image.mnist_format import detect_mnist_formats
from app.image.normalise import Normalised, normalise
from app.image.png import read_plain_png
from app.image.segmentation.box import Box
from app.net import SIDE

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


def from_mnist_pixels(pixels: NDArray[np.uint8], name: str) -> PreprocessedImage:
    """Return (28, 28) uint8 pixels in MNIST's form as the network's input, unchanged.

    Raises BlankImage, with the `name` of the image, if the same picture would be blank as a file.
    """
    try:
        normalise(pixels)
    except BlankImage as refusal:
        raise BlankImage(f"{name}: {refusal.detail}") from None
    box = Box(0, 0, SIDE, SIDE)
    return PreprocessedImage(Normalised(np.ascontiguousarray(pixels), False, box, (0.0, 0.0)), 1.0)


def check_pixels(images: NDArray[np.uint8]) -> None:
    """Raise BlankImage if one of (B, 28, 28) pictures would be blank as a file."""
    has_form = detect_mnist_formats(images).has_form
    for number in np.flatnonzero(~has_form).tolist():
        from_mnist_pixels(images[number], f"Image {number}")


def preprocess_if_small(upload: bytes, max_pixels: int) -> PreprocessedImage | None:
    """Return a small plain PNG preprocessed, or None if a decoder has to read the upload.

    The time that this takes is bounded by the pixels. Raises BlankImage.
    """
    if len(upload) > SMALL_BYTES:
        return None
    started = time.perf_counter()
    pixels = read_plain_png(upload, min(max_pixels, SMALL_PIXELS))
    return None if pixels is None else preprocess_pixels(pixels, 1.0, started)


def preprocess_pixels(pixels: NDArray[np.uint8], scale: float, started: float) -> PreprocessedImage:
    """Return (H, W) uint8 grey pixels as model input; decoding them began at `started`."""
    decoded = time.perf_counter()
    normalised = normalise(pixels)
    ended = time.perf_counter()
    return PreprocessedImage(normalised, scale, decoded - started, ended - decoded, started)
