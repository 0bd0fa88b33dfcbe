"""Pixels that clients send as numbers: validation and conversion to MNIST's uint8 form.

The result is uint8, 0 for the background and 255 for ink.
"""

from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.errors import MalformedRequest
from app.net import PIXELS

Pixels = NDArray[np.uint8]
FAINTEST: Final = 1.0001 / 255  # the lowest tone but 0, and what float32 rounds
NOT_NUMBERS: Final = "Pixels must be numbers, in rows of equal length."


def shape_of(data: Any) -> list[int]:
    """Return the shape of nested lists. It looks only at the first element of each list."""
    shape = []
    while isinstance(data, list):
        shape.append(len(data))
        data = data[0] if data else None
    return shape


def numbers(data: list[Any]) -> NDArray[Any]:
    """Return nested or flat numbers as one flat array, row by row. Raises MalformedRequest.

    numpy gets nothing but numbers: one long text would make every element as long.
    """
    for length in shape_of(data)[1:]:
        if set(map(type, data)) != {list} or set(map(len, data)) != {length}:
            raise MalformedRequest(NOT_NUMBERS)
        data = list(chain.from_iterable(data))
    if not set(map(type, data)) <= {int, float, bool}:
        raise MalformedRequest(NOT_NUMBERS)
    try:
        values = np.array(data)
    except OverflowError:  # far too large
        values = np.array(None)
    if values.dtype.kind not in "iuf":
        raise MalformedRequest(NOT_NUMBERS)
    return values


def to_uint8(values: NDArray[Any], name: str = "Image") -> Pixels:
    """Return whole numbers from 0 to 255 as uint8, in the same shape: (28, 28) or (B, 28, 28).

    `name` names the image in an error. Raises MalformedRequest, also for an image of nothing but 0
    and 1: in tones of 255 it would be nearly blank, and a mask was meant.
    """
    images = values.reshape(-1, PIXELS)
    low, high = images.min(axis=1), images.max(axis=1)
    is_valid = (low >= 0) & (high <= 255) & ~((low == 0) & (high == 1))  # NaNs are not >= 0
    if values.dtype.kind == "f":
        is_valid &= ~(images % 1).any(axis=1)
    _check_range(name, is_valid, low, high, "whole numbers from 0 (background) to 255 (ink)")
    return values.astype(np.uint8, copy=False)


def from_unit(values: NDArray[Any]) -> Pixels:
    """Return (B, 28, 28) numbers from 0 to 1 as the nearest of MNIST's 256 tones.

    Raises MalformedRequest, also if the highest one is at most the lowest tone, 1/255.
    """
    images = values.reshape(-1, PIXELS)
    low, high = images.min(axis=1), images.max(axis=1)
    is_valid = (low >= 0) & (high <= 1) & ((high > FAINTEST) | (low == high))
    _check_range("Image", is_valid, low, high, "FP32 numbers from 0 (background) to 1 (ink)")
    scaled: NDArray[Any] = np.rint(values * 255)
    return scaled.astype(np.uint8)


def _check_range(
    name: str, is_valid: NDArray[np.bool_], low: NDArray[Any], high: NDArray[Any], expected: str
) -> None:
    """Raise MalformedRequest with the range of the first invalid image, and the right one."""
    if is_valid.all():
        return
    n = int(np.argmin(is_valid))
    label = f"{name} {n}" if len(is_valid) > 1 else name
    first, last = float(low[n]), float(high[n])
    raise MalformedRequest(
        f"{label} has pixels from {first:.6g} to {last:.6g}. Pixels must be {expected}."
        f"{_advice(first, last)}"
    )


def _advice(low: float, high: float) -> str:
    if 0 <= low < high <= FAINTEST:
        return " They look as if they were divided by 255 twice."
    if 0 <= low < high <= 1:
        return " They look like a mask or like shares: multiply them by 255, and round them."
    if low < 0:
        return " They look standardised: send them as they were before."
    return ""
