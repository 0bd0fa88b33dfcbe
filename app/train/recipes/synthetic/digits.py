"""Synthetic digits that resemble uploads: low resolution, stretched, printed, drawn with a mouse.

They are normalised in the same way as uploads, so that a network trains with the artefacts of
normalisation.
"""

from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from app.train.recipes.dataset import Digits
from app.train.recipes.synthetic.glyphs import CANVAS, Pixels, draw_sign
from app.train.recipes.synthetic.uploads import draw_upload

PRINTED_PROBABILITY: Final = 0.4
COARSE_PROBABILITY: Final = 0.7


def draw_digit(random: Generator, digits: Digits) -> tuple[Pixels, int]:
    """Return a synthetic digit, (28, 28), and its label: printed, or one of `digits` redrawn."""
    return draw_upload(random, lambda random: _picture(random, digits), COARSE_PROBABILITY)


def _picture(random: Generator, digits: Digits) -> tuple[Pixels, int]:
    if random.random() < PRINTED_PROBABILITY:
        label = int(random.integers(10))
        return draw_sign(random, str(label)), label
    place = int(random.integers(len(digits)))
    large = cv2.resize(
        digits.pixels[place].numpy(), (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC
    )
    width = int(random.integers(1, 6))
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    drawn = (cv2.dilate if random.random() < 0.7 else cv2.erode)(large, pen)
    return np.asarray(drawn, np.uint8), int(digits.labels[place])
