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

from typing import Final, NamedTuple

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from app.errors import BlankImage
from app.image.components import DigitMask, keep_digit
from app.image.fit import stretch, to_mnist
from app.image.ink import SMALL_SIDE, Ink, find_ink
from app.image.mnist_format import detect_mnist_format
from app.image.ruled_lines import drop_lines
from app.image.segmentation.box import Box
from app.image.segmentation.surroundings import drop_frames
from app.image.stroke import has_stroke_edges, stroke_width
from app.image.threshold import find_threshold

# Requests already run in parallel: OpenCV's own threads would compete for the cores.
cv2.setNumThreads(1)

# More pixels than this add nothing that 28x28 could show.
MAX_WORK_SIDE: Final = 512
# A digit smaller than this share of the image cannot be distinguished from dirt.
SPECK: Final = 0.015
# One smaller than this is read from the pixels around it, and is dirt if its strokes are wider
# than this share of its size: 0.66 is a dot.
SMALL_DIGIT: Final = 0.05
MAX_SMALL_STROKE: Final = 0.45
# Around the digit, to keep the soft edges of its strokes.
MARGIN: Final = 2
# The shift of an image whose centre of mass is in the centre already.
CENTRED: Final = (0.0, 0.0)


class Normalised(NamedTuple):
    """A digit in MNIST's form, and where it was in the grey image."""

    pixels: NDArray[np.uint8]  # (28, 28), ink light on dark, C-contiguous
    inverted: bool  # the ink was darker than its background
    box: Box  # left, top, right, bottom in the grey image; right and bottom are exclusive
    shift: tuple[float, float]  # x, y, in pixels of the 28x28 image, that centred the mass
    digit_count: int = 1  # pieces of a digit's size in the image


def normalise(grey: NDArray[np.uint8]) -> Normalised:
    """Find the digit and bring it into MNIST's form. Raises BlankImage if there is no ink."""
    mnist_image = detect_mnist_format(grey)
    if mnist_image is not None:
        return Normalised(mnist_image.pixels, mnist_image.inverted, Box(*mnist_image.box), CENTRED)
    factor = -(-max(grey.shape) // MAX_WORK_SIDE)
    ink = find_ink(_reduce(grey, factor))
    if ink is None:
        raise _blank()
    digit, box, count = _cut_out(ink)
    size = max(box.width, box.height)
    if size < SMALL_DIGIT * max(ink.amount.shape):
        return _zoom(grey, _scale(box, factor, grey.shape), count)
    pixels, shift = to_mnist(digit)
    return Normalised(pixels, ink.inverted, _scale(box, factor, grey.shape), shift, count)


def _zoom(grey: NDArray[np.uint8], box: Box, count: int) -> Normalised:
    """Normalise a small digit from the pixels around it."""
    margin = round(1.5 * max(box.width, box.height))
    left, top = max(0, box.left - margin), max(0, box.top - margin)
    around = np.ascontiguousarray(grey[top : box.bottom + margin, left : box.right + margin])
    ink = find_ink(_reduce(around, factor := -(-max(around.shape) // MAX_WORK_SIDE)))
    if ink is None:
        raise _blank()
    digit, found, _ = _cut_out(ink)
    if stroke_width((digit > 127).astype(np.uint8)) > MAX_SMALL_STROKE * max(digit.shape):
        raise _blank()
    pixels, shift = to_mnist(digit)
    near = _scale(found, factor, around.shape)
    whole = Box(near.left + left, near.top + top, near.right + left, near.bottom + top)
    return Normalised(pixels, ink.inverted, whole, shift, count)


def _reduce(grey: MatLike, factor: int) -> MatLike:
    """Average blocks of whole pixels, several times as fast as any ratio that is not an integer."""
    if factor == 1:
        return grey
    height, width = (max(1, side // factor) for side in grey.shape)
    whole = grey[: height * factor, : width * factor]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def _cut_out(ink: Ink) -> tuple[MatLike, Box, int]:
    """Return the digit's ink, 0 to 255, its box in the image, and the number of digits in it."""
    amount = ink.amount
    small = max(amount.shape) < SMALL_SIDE
    smooth = amount if small else cv2.GaussianBlur(amount, (3, 3), 0)
    threshold = find_threshold(smooth)
    if threshold is None:
        raise _blank()
    mask = (smooth >= threshold.level).astype(np.uint8)
    found: DigitMask | None
    if small:
        found, bare = DigitMask(mask, 1), smooth
    else:
        framed = drop_frames(mask)
        rest = drop_lines(framed, (smooth >= threshold.faint).astype(np.uint8))
        found = keep_digit(rest, smooth)
        bare = smooth if rest is framed else _erase(smooth, cv2.subtract(framed, rest))
    if found is None:
        raise _blank()
    digit, count = found
    if not (small or has_stroke_edges(digit, bare, threshold, ink.uneven)):
        raise _blank()
    left, top, width, height = cv2.boundingRect(digit)
    if max(width, height) < max(2, SPECK * max(digit.shape)):
        raise _blank()
    box = Box(left, top, left + width, top + height)
    if small:
        return stretch(_crop(amount, box), 0, threshold.full), box, count
    grown = cv2.dilate(digit, np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8))
    cut = cv2.multiply(_crop(amount, box, MARGIN), _crop(grown, box, MARGIN))
    return (
        stretch(cut, 0.6 * threshold.level, min(threshold.full, 1.4 * threshold.level)),
        box,
        count,
    )


def _erase(amount: MatLike, lines: MatLike) -> MatLike:
    """Return the ink without lines: what is left of them near the digit is no soft edge of it."""
    return cv2.multiply(amount, 1 - cv2.dilate(lines, np.ones((3, 3), np.uint8)))


def _crop(image: MatLike, box: Box, margin: int = 0) -> MatLike:
    left, top, right, bottom = box
    rows = slice(max(0, top - margin), bottom + margin)
    return image[rows, max(0, left - margin) : right + margin]


def _scale(box: Box, factor: int, shape: tuple[int, ...]) -> Box:
    left, top, right, bottom = box.scaled(factor)
    return Box(left, top, min(right, shape[1]), min(bottom, shape[0]))


def _blank() -> BlankImage:
    return BlankImage(
        "The image contains no ink, or only noise. "
        "Send one digit that stands out from its background."
    )
