"""Normalise a grey image of one digit to MNIST's form.

The input is (H, W) grey pixels of any size, dark on light or light on dark. The output has light
ink on a dark background, 28x28 pixels, the longer side of the ink 20 pixels, and its centre of mass
in the centre, as the makers of MNIST prepared it (LeCun, Bottou, Bengio, Haffner: Gradient-based
learning applied to document recognition, Proc. IEEE 86(11), 1998). An image that already has this
form passes unchanged. The steps:

    polarity, page    ink                        amount of ink per pixel, whatever the light
    mask              ruled_lines  components    the pixels of the digit
    stroke                                       whether a pen drew them at all
    fit                                          size, stroke width and position
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from app.errors import BlankImage
from app.image.components import keep_digit
from app.image.fit import stretch, to_mnist
from app.image.ink import SMALL_SIDE, Ink, find_ink
from app.image.mnist_format import detect_mnist_format
from app.image.ruled_lines import drop_lines
from app.image.stroke import has_stroke_edges
from app.image.threshold import find_threshold

# Requests already run in parallel: OpenCV's own threads would compete for the cores.
cv2.setNumThreads(1)

Box: TypeAlias = tuple[int, int, int, int]

# More pixels than this add nothing that 28x28 could show.
MAX_WORK_SIDE: Final = 512
# A digit smaller than this share of the image cannot be distinguished from dirt.
SPECK: Final = 0.03
# Around the digit, to keep the soft edges of its strokes.
MARGIN: Final = 2


@dataclass(frozen=True, slots=True)
class Normalised:
    """A digit in MNIST's form, and where it was in the grey image."""

    pixels: NDArray[np.uint8]  # (28, 28), ink light on dark, C-contiguous
    inverted: bool  # the ink was darker than its background
    box: Box  # left, top, right, bottom in the grey image; right and bottom are exclusive
    shift: tuple[float, float]  # x, y, in pixels of the 28x28 image, that centred the mass


def normalise(grey: NDArray[np.uint8]) -> Normalised:
    """Find the digit and bring it into MNIST's form. Raises BlankImage if there is no ink."""
    mnist_image = detect_mnist_format(grey)
    if mnist_image is not None:
        return Normalised(mnist_image.pixels, mnist_image.inverted, mnist_image.box, (0.0, 0.0))
    factor = -(-max(grey.shape) // MAX_WORK_SIDE)
    ink = find_ink(_reduce(grey, factor))
    if ink is None:
        raise _blank()
    digit, box = _cut_out(ink)
    pixels, shift = to_mnist(digit)
    return Normalised(pixels, ink.inverted, _scale(box, factor, grey.shape), shift)


def _reduce(grey: MatLike, factor: int) -> MatLike:
    """Average blocks of whole pixels, several times as fast as any ratio that is not an integer."""
    if factor == 1:
        return grey
    height, width = (max(1, side // factor) for side in grey.shape)
    whole = grey[: height * factor, : width * factor]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def _cut_out(ink: Ink) -> tuple[MatLike, Box]:
    """Return the digit's ink, 0 to 255, and its box in the image."""
    amount = ink.amount
    small = max(amount.shape) < SMALL_SIDE
    smooth = amount if small else cv2.GaussianBlur(amount, (3, 3), 0)
    threshold = find_threshold(smooth)
    if threshold is None:
        raise _blank()
    mask = (smooth >= threshold.level).astype(np.uint8)
    digit = mask if small else keep_digit(drop_lines(mask), smooth)
    if digit is None or not (small or has_stroke_edges(digit, smooth, threshold, ink.uneven)):
        raise _blank()
    left, top, width, height = cv2.boundingRect(digit)
    if max(width, height) < max(2, SPECK * max(digit.shape)):
        raise _blank()
    box = left, top, left + width, top + height
    if small:
        return stretch(_crop(amount, box), 0, threshold.full), box
    grown = cv2.dilate(digit, np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8))
    cut = cv2.multiply(_crop(amount, box, MARGIN), _crop(grown, box, MARGIN))
    return stretch(cut, 0.6 * threshold.level, min(threshold.full, 1.4 * threshold.level)), box


def _crop(image: MatLike, box: Box, margin: int = 0) -> MatLike:
    left, top, right, bottom = box
    rows = slice(max(0, top - margin), bottom + margin)
    return image[rows, max(0, left - margin) : right + margin]


def _scale(box: Box, factor: int, shape: tuple[int, ...]) -> Box:
    left, top, right, bottom = (edge * factor for edge in box)
    return left, top, min(right, shape[1]), min(bottom, shape[0])


def _blank() -> BlankImage:
    return BlankImage(
        "The image contains no ink, or only noise. "
        "Send one digit that stands out from its background."
    )
