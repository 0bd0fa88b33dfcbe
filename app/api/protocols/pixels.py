"""Numbers that clients send as pixels.

What enters: numbers, from JSON or from a tensor. What leaves: uint8 pixels, 0 for the background
and 255 for ink, as MNIST has them. This module does not know of protocols, nor of shapes.
"""

from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.errors import MalformedRequest

Pixels = NDArray[np.uint8]
NOT_NUMBERS: Final = "Pixels must be numbers, in rows of one length."


def shape_of(data: Any) -> list[int]:
    """Return what shape nested lists have if each is like the first, at which alone it looks."""
    shape = []
    while isinstance(data, list):
        shape.append(len(data))
        data = data[0] if data else None
    return shape


def numbers(data: list[Any]) -> NDArray[Any]:
    """Read numbers, nested or flat, one row after another. Raises MalformedRequest.

    numpy is given nothing but numbers: beside one long text it would make each as long.
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
    """Take whole numbers from 0 to 255 as uint8, in their shape. Raises MalformedRequest."""
    if not ((values >= 0) & (values <= 255)).all() or (values % 1).any():  # NaNs are not >= 0
        raise MalformedRequest("Pixels must be whole numbers from 0 (background) to 255 (ink).")
    return values.astype(np.uint8)


def from_unit(values: NDArray[Any]) -> Pixels:
    """Take numbers from 0 to 1 as the nearest of MNIST's 256 tones. Raises MalformedRequest."""
    if not ((values >= 0) & (values <= 1)).all():
        raise MalformedRequest("FP32 pixels must be from 0 (background) to 1 (ink).")
    scaled: NDArray[Any] = np.rint(values * 255)
    return scaled.astype(np.uint8)
