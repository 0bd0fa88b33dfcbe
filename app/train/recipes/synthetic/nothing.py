"""28×28 pixels that show nothing: constant tones, faint noise, single dots, light from a side.

Clients of `/v1` and `/v2` send pixels as they are, so that no normalisation refuses these images.
"""

import numpy as np
from numpy.random import Generator

from app.net import SIDE
from app.train.recipes.synthetic.glyphs import Pixels, one_of, to_tones


def draw_nothing(random: Generator) -> Pixels:
    """Return an image without ink, (28, 28)."""
    return one_of(random, (_constant, _constant, _noise, _dots, _gradient))(random)


def _constant(random: Generator) -> Pixels:
    tone = 255 * random.random() ** 2  # faint tones are the most frequent
    return np.full((SIDE, SIDE), tone, np.uint8)


def _noise(random: Generator) -> Pixels:
    tone = 255 * random.random() ** 2
    return to_tones(tone + random.normal(0, random.uniform(1, 40), (SIDE, SIDE)))


def _dots(random: Generator) -> Pixels:
    """Return one to three dots of a pixel or four."""
    picture, size = _constant(random) // 8, int(random.integers(1, 3))
    for _ in range(random.integers(1, 4)):
        row, column = random.integers(0, SIDE, 2)
        picture[row : row + size, column : column + size] = random.integers(60, 256)
    return picture


def _gradient(random: Generator) -> Pixels:
    across, down = random.uniform(-1, 1, 2)
    places = np.linspace(-0.5, 0.5, SIDE)
    light = 0.5 + across * places + down * places[:, None]
    return to_tones(light * random.uniform(0, 255))
