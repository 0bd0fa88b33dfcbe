"""Synthetic digits as uploads: some of low resolution, light or dark, normalised as uploads are."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from app.errors import BlankImage
from app.image.normalise import normalise
from app.train.recipes.synthetic.glyphs import Pixels, to_tones

# Pixels of the longer side of a coarse digit.
MIN_SIDE, MAX_SIDE = 7, 15
INK_THRESHOLD: Final = 40


def draw_upload(
    random: Generator,
    draw: Callable[[Generator], tuple[Pixels, int]],
    coarse_probability: float,
) -> tuple[Pixels, int]:
    """Return a digit that `draw` gives, light on dark with its label, as 28×28 pixels."""
    while True:
        picture, label = draw(random)
        picture = _downscale(random, picture) if random.random() < coarse_probability else picture
        picture = 255 - picture if random.random() < 0.5 else picture
        with suppress(BlankImage):
            return normalise(np.ascontiguousarray(picture)).pixels, label


def _downscale(random: Generator, picture: Pixels) -> Pixels:
    """Return the digit cropped to its ink and reduced to a few pixels."""
    left, top, width, height = cv2.boundingRect((picture > INK_THRESHOLD).astype(np.uint8))
    cut = picture[top : top + height, left : left + width]
    if not cut.size:
        return picture
    long_side = int(random.integers(MIN_SIDE, MAX_SIDE))
    wide = width / height * float(np.exp(random.uniform(-0.1, 0.5)))
    size = max(2, min(long_side, round(long_side * wide))), long_side
    edge = random.integers(0, 2, 4)
    small = cv2.resize(cut, size, interpolation=cv2.INTER_AREA)
    levels = small.astype(np.float32) * random.uniform(0.9, 1.6)
    return np.pad(to_tones(levels), (tuple(edge[:2]), tuple(edge[2:])))
