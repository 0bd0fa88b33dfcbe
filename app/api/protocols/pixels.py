"""Pixels that clients send as numbers: validation and conversion to MNIST's uint8 form.

The result is uint8, 0 for the background and 255 for ink.
"""

from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.errors import MalformedRequest

Pixels = NDArray[np.uint8]
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


def to_uint8(values: NDArray[Any]) -> Pixels:
    """Return whole numbers from 0 to 255 as uint8, in the same shape. Raises MalformedRequest."""
    if not ((values >= 0) & (values <= 255)).all() or (values % 1).any():  # NaNs are not >= 0
        raise MalformedRequest("Pixels must be whole numbers from 0 (background) to 255 (ink).")
    return values.astype(np.uint8)


def from_unit(values: NDArray[Any]) -> Pixels:
    """Return numbers from 0 to 1 as the nearest of MNIST's 256 tones. Raises MalformedRequest."""
    if not ((values >= 0) & (values <= 1)).all():
        raise MalformedRequest("FP32 pixels must be numbers from 0 (background) to 1 (ink).")
    scaled: NDArray[Any] = np.rint(values * 255)
    return scaled.astype(np.uint8)
