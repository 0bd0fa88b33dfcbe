"""Preprocessing of the small images of a batch: decode all, then look at all of them together."""

import time
from collections.abc import Sequence
from typing import Final

from app.errors import ServiceError, drop_traceback
from app.image.mnist_format import PIXELS, SIDE, detect_mnist_formats
from app.image.normalise import CENTRED, Normalised
from app.image.png import GREY, PlainPng, decode_together, inflate_plain_png
from app.image.segmentation.box import Box
from app.predict.preprocess import (
    SMALL_BYTES,
    PreprocessedImage,
    preprocess_if_small,
)

# For fewer images, the calls for arrays take longer than a call for each image.
MIN_TOGETHER: Final = 8

MNIST_IMAGE: Final = (SIDE, SIDE, GREY)

# None if the image takes too long for the event loop.
PreprocessOutcome = PreprocessedImage | Exception | None


def preprocess_batch(
    uploads: Sequence[bytes | PreprocessedImage], max_pixels: int
) -> list[PreprocessOutcome]:
    """Return for each upload the image that `preprocess_if_small` returns, or its error.

    A `PreprocessedImage` stays as it is.
    """
    together = _preprocess_mnist_images(uploads, max_pixels) if len(uploads) >= MIN_TOGETHER else {}
    return [
        together.get(index) or _preprocess_alone(upload, max_pixels)
        for index, upload in enumerate(uploads)
    ]


def _preprocess_mnist_images(
    uploads: Sequence[bytes | PreprocessedImage], max_pixels: int
) -> dict[int, PreprocessedImage]:
    """Return the grey PNGs in MNIST's form by index. Each gets its share of the time."""
    started = time.perf_counter()
    files = {
        index: file
        for index, upload in enumerate(uploads)
        if isinstance(upload, bytes) and (file := _inflate_mnist_image(upload, max_pixels))
    }
    greys = decode_together(list(files.values())) if files else None
    if greys is None:
        return {}
    decoded = time.perf_counter()
    found = detect_mnist_formats(greys)
    rows = zip(
        files,
        found.has_form.tolist(),
        found.pixels,
        found.inverted.tolist(),
        found.boxes.tolist(),
        strict=True,
    )
    decode_seconds = (decoded - started) / len(uploads)
    normalise_seconds = (time.perf_counter() - decoded) / len(files)
    return {
        index: PreprocessedImage(
            Normalised(pixels, inverted, Box(*box), CENTRED),
            1.0,
            decode_seconds,
            normalise_seconds,
            started,
        )
        for index, has_form, pixels, inverted, box in rows
        if has_form
    }


def _inflate_mnist_image(upload: bytes, max_pixels: int) -> PlainPng | None:
    """Return the upload if it is a plain grey PNG of MNIST's size, else None."""
    if len(upload) > SMALL_BYTES:
        return None
    file = inflate_plain_png(upload, min(max_pixels, PIXELS))
    return file if file and (file.width, file.height, file.form) == MNIST_IMAGE else None


def _preprocess_alone(upload: bytes | PreprocessedImage, max_pixels: int) -> PreprocessOutcome:
    if isinstance(upload, PreprocessedImage):
        return upload
    try:
        return preprocess_if_small(upload, max_pixels)
    except ServiceError as refusal:
        return drop_traceback(refusal)  # its frames, and their callers', hold the error
    except Exception as error:
        return error
