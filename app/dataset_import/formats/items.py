"""What the formats yield: image files, arrays of pixels, and images that cannot be used."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.errors import BlankImage, BodyTooLarge
from app.image.mnist_format import detect_mnist_formats
from app.image.normalise import normalise
from app.net import DIGITS, PIXELS, SIDE

# Images of one array. A frame has the number of each in its head.
BLOCK: Final = 500


class Picture(NamedTuple):
    """An image file, which a decoder has yet to read."""

    name: str
    label: int
    content: bytes


class Pixels(NamedTuple):
    """Images as numbers: labels (B,) uint8, pixels (B, 28, 28) uint8; `kind` and a number name one.

    The numbers count from 1.
    """

    kind: str
    numbers: list[int]
    labels: NDArray[np.uint8]
    pixels: NDArray[np.uint8]


class Rejection(NamedTuple):
    """An image that cannot be used, and why, in a word."""

    name: str
    code: str


class Limits(NamedTuple):
    """Bounds of an upload. `transposed` swaps the rows and columns of images that are numbers."""

    max_images: int
    max_unpacked_bytes: int
    max_file_bytes: int
    transposed: bool = False

    def check_images(self, images: int) -> None:
        """Raise BodyTooLarge if there are too many images."""
        if images > self.max_images:
            raise BodyTooLarge(
                f"The upload has {images} images or more, and the limit is "
                f"MYNET_MAX_DATASET_IMAGES={self.max_images}. Send fewer images."
            )


Item: TypeAlias = Picture | Pixels | Rejection


def from_numbers(
    kind: str, first: int, labels: NDArray[Any], values: NDArray[Any], *, transposed: bool
) -> Iterator[Item]:
    """Yield the images of (B,) labels and (B, 784) numbers, and those that cannot be used.

    A pixel is a whole number from 0 (background) to 255 (ink), as in `/v1`. An image of nothing
    but 0 and 1 is a mask or was divided by 255, and in tones of 255 it would be nearly blank.
    """
    numbers = np.arange(first, first + len(labels))
    codes = np.full(len(labels), "", dtype=object)
    low, high = values.min(axis=1), values.max(axis=1)
    is_valid = (low >= 0) & (high <= 255) & ~((low == 0) & (high == 1))  # NaNs are not >= 0
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            is_valid &= ~(values % 1).any(axis=1)
    codes[~is_valid] = "invalid_pixels"
    codes[~((labels >= 0) & (labels < DIGITS))] = "invalid_label"
    good = np.flatnonzero(codes == "")
    pixels = values[good].astype(np.uint8).reshape(-1, SIDE, SIDE)
    if transposed:
        pixels = np.ascontiguousarray(pixels.transpose(0, 2, 1))
    is_blank = _are_blank(pixels)
    codes[good[is_blank]] = BlankImage.code
    yield from (
        Rejection(f"{kind} {numbers[index]}", codes[index]) for index in np.flatnonzero(codes != "")
    )
    good = good[~is_blank]
    if len(good):
        yield Pixels(kind, numbers[good].tolist(), labels[good].astype(np.uint8), pixels[~is_blank])


def rows_of(array: NDArray[Any]) -> NDArray[Any]:
    """Return images of any shape as (B, 784) numbers."""
    return array.reshape(-1, PIXELS)


def _are_blank(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return for (B, 28, 28) images whether each would be blank as a file: (B,) bool."""
    is_blank = np.zeros(len(pixels), np.bool_)
    if len(pixels):
        others: Sequence[int] = np.flatnonzero(~detect_mnist_formats(pixels).has_form).tolist()
        for index in others:
            try:
                normalise(pixels[index])
            except BlankImage:
                is_blank[index] = True
    return is_blank
