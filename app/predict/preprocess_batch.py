"""Preprocessing of the small images of a batch: decode all, then look at all of them together."""

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from app.errors import ServiceError, drop_traceback
from app.image.mnist_format import SIDE, detect_mnist_formats
from app.image.normalise import CENTRED, Normalised
from app.image.png import read_plain_png
from app.image.segmentation.box import Box
from app.predict.preprocess import (
    SMALL_BYTES,
    SMALL_PIXELS,
    PreprocessedImage,
    preprocess_if_small,
)

# For fewer images, the calls for arrays take longer than a call for each image.
MIN_TOGETHER: Final = 8

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
    """Return the plain PNGs in MNIST's form by index. Each gets its share of the time."""
    started = time.perf_counter()
    limit = min(max_pixels, SMALL_PIXELS)
    greys = {}
    for index, upload in enumerate(uploads):
        if isinstance(upload, PreprocessedImage) or len(upload) > SMALL_BYTES:
            continue
        grey = read_plain_png(upload, limit)
        if grey is not None and grey.shape == (SIDE, SIDE):
            greys[index] = grey
    if not greys:
        return {}
    decoded = time.perf_counter()
    found = detect_mnist_formats(np.stack(list(greys.values())))
    rows = zip(
        greys,
        found.has_form.tolist(),
        found.pixels,
        found.inverted.tolist(),
        found.boxes.tolist(),
        strict=True,
    )
    decode_seconds = (decoded - started) / len(uploads)
    normalise_seconds = (time.perf_counter() - decoded) / len(greys)
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


def _preprocess_alone(upload: bytes | PreprocessedImage, max_pixels: int) -> PreprocessOutcome:
    if isinstance(upload, PreprocessedImage):
        return upload
    try:
        return preprocess_if_small(upload, max_pixels)
    except ServiceError as refusal:
        return drop_traceback(refusal)  # its frames, and their callers', hold the error
    except Exception as error:
        return error
