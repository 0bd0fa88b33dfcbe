"""Synthetic digits that resemble uploads: low resolution, stretched, printed, drawn with a mouse.

They are normalised in the same way as uploads, so that a network trains with the artefacts of
normalisation.
"""

from typing import Final

import cv2
import numpy as np
import torch
from numpy.random import Generator

from app.errors import BlankImage
from app.image.normalise import normalise
from app.train.recipes.dataset import Digits
from app.train.recipes.synthetic.glyphs import CANVAS, Pixels, draw_sign, to_tones

PRINTED_PROBABILITY: Final = 0.4
COARSE_PROBABILITY: Final = 0.7
# Pixels of the longer side of a coarse digit.
MIN_SIDE, MAX_SIDE = 7, 15
INK_THRESHOLD: Final = 40


def draw_digits(random: Generator, digits: Digits, count: int) -> Digits:
    """Return `count` synthetic digits. Some are redrawn from `digits`, the others are printed."""
    pixels: list[Pixels] = []
    labels: list[int] = []
    while len(pixels) < count:
        picture, label = _picture(random, digits)
        picture = _downscale(random, picture) if random.random() < COARSE_PROBABILITY else picture
        picture = 255 - picture if random.random() < 0.5 else picture
        try:
            pixels.append(normalise(np.ascontiguousarray(picture)).pixels)
        except BlankImage:
            continue
        labels.append(label)
    return Digits(torch.from_numpy(np.stack(pixels)), torch.tensor(labels))


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
