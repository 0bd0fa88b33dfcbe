"""Synthetic digits that resemble uploads: low resolution, stretched, printed, drawn with a mouse.

They are normalised in the same way as uploads, so that a network trains with the artefacts of
normalisation.
"""

from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from app.train.recipes.dataset import Digits
from app.train.recipes.synthetic.glyphs import CANVAS, OnDrawn, Pixels, draw_sign, ignore
from app.train.recipes.synthetic.uploads import collect_digits

PRINTED_PROBABILITY: Final = 0.4
COARSE_PROBABILITY: Final = 0.7


def draw_digits(
    random: Generator, digits: Digits, count: int, on_drawn: OnDrawn = ignore
) -> Digits:
    """Return `count` synthetic digits. Some are redrawn from `digits`, the others are printed."""
    return collect_digits(
        random, lambda random: _picture(random, digits), count, COARSE_PROBABILITY, on_drawn
    )


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
