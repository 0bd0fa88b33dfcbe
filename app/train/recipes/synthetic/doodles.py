"""Doodles that are no digit: arrows, hearts, faces, spirals, crescents, hands, squared paper.

Images are light on dark.
"""

from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.random import Generator

from app.train.recipes.synthetic.digit_forms import Forms
from app.train.recipes.synthetic.glyphs import CANVAS, Pixels, canvas, one_of, to_tones
from app.train.recipes.synthetic.hand import SHIFT, write

_RING: Final = "50,0 15,0 0,30 0,70 15,100 85,100 100,70 100,30 85,0 48,0"
# `strokes.py` describes the notation. Those of ROTATABLE are drawn at any angle.
UPRIGHT: Final[Forms] = {
    "heart": ("50,30! 35,-12 -5,0 0,50 50,100! 100,50 105,0 65,-12 50,30",),
    "face": (_RING, "33,32 34,38", "66,32 67,38", "28,65 50,85 72,65"),
    "house": ("10,45 10,100! 90,100! 90,45", "0,50 50,0! 100,50"),
    "tree": ("50,100 50,45", "50,50 0,45 15,0 85,0 100,45 50,52"),
    "person": ("50,30 50,70! 25,100", "50,70 75,100", "20,45 80,42", "50,0 35,5 40,30 62,28 50,0"),
    "flower": ("50,40 50,100", "50,40 20,40 20,5 50,15! 80,5 80,40 50,40", "50,75 80,60"),
    "cloud": ("10,60 -10,40 20,15 45,30 60,5 90,20 85,40 110,45 95,70 10,60",),
    "cup": ("5,10 10,100! 70,100! 75,10", "75,30 110,30 105,75 70,75"),
    "umbrella": ("0,50 10,0 90,0 100,50! 0,50", "50,50 50,100 30,105 28,90"),
    "fish": ("100,20 60,50 20,85 -5,50 20,15 60,50 100,80! 100,20",),
    "envelope": ("0,10 100,10! 100,90! 0,90! 0,10! 50,55! 100,10",),
}  # fmt: skip
ROTATABLE: Final[Forms] = {
    "arrow": ("50,0~40,5 50,100", "20,30~30,25 50,0! 80,30~70,25"),
    "double arrow": ("50,0 50,100", "25,25 50,0! 75,25", "25,75 50,100! 75,75"),
    "check": ("0,60 30,100~35,95! 100,0",),
    "star": ("20,100 50,0! 80,100! 0,38! 100,38! 20,100",),
    "triangle": ("50,0 0,90! 100,90! 50,0",),
    "plus": ("50,0 50,100", "0,50 100,50"),
    "waves": ("0,50 15,20~10,0 35,80~40,100 55,20~60,0 80,80~85,100 100,50",),
    "saw": ("0,100 20,0! 40,100! 60,0! 80,100! 100,0",),
    "brackets": ("30,0 0,0! 0,100! 30,100", "70,0 100,0! 100,100! 70,100"),
    "equals": ("0,25 100,25", "0,75 100,75"),
    "hash": ("30,0 30,100", "70,0 70,100", "0,30 100,30", "0,70 100,70"),
    "curls": ("0,60 20,0 40,20 20,60 40,90 60,0 75,20 55,60 75,90 100,40",),
}  # fmt: skip


def draw_doodle(random: Generator) -> Pixels:
    """Return an image of a doodle in a random hand, (64, 64)."""
    kind = random.random()
    if kind < 0.35:
        return write(random, one_of(random, list(UPRIGHT.values())))
    if kind < 0.65:
        return _rotate(random, write(random, one_of(random, list(ROTATABLE.values()))))
    return one_of(random, (_spiral, _crescent, _hand_shape))(random)


def draw_paper(random: Generator) -> Pixels:
    """Return an image of squared or ruled paper, 80 to 160 pixels a side."""
    side, step = int(random.integers(80, 160)), int(random.integers(5, 50))
    page, width = np.zeros((side, side), np.float32), int(random.integers(1, 4))
    for first in range(int(random.integers(1, step)), side, step):
        page[first : first + width] = 1
        if random.random() < 0.95:
            page[:, first : first + width] = 1
    rotation = cv2.getRotationMatrix2D((side / 2, side / 2), random.uniform(-8, 8), 1.2)
    lines = cv2.warpAffine(page, rotation, (side, side), flags=cv2.INTER_LINEAR)
    lines = cv2.GaussianBlur(lines, (0, 0), random.uniform(0.3, 1.5))
    light = np.linspace(1, random.uniform(0.5, 1), side)[:, None]
    noise = random.normal(0, random.uniform(0, 12), (side, side))
    return to_tones(lines * light * random.uniform(20, 250) + noise)


def _rotate(random: Generator, picture: MatLike) -> Pixels:
    matrix = cv2.getRotationMatrix2D((CANVAS / 2, CANVAS / 2), random.uniform(0, 360), 0.85)
    return np.asarray(cv2.warpAffine(picture, matrix, (CANVAS, CANVAS)), np.uint8)


def _outline(picture: Pixels) -> Pixels:
    edges = cv2.morphologyEx(picture, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return np.asarray(edges, np.uint8)


def _spiral(random: Generator) -> Pixels:
    """Return a spiral of two turns or more: with fewer, it would be a 6 or a 9."""
    turns, handed = random.uniform(2, 4), random.choice([-1, 1])
    along = np.linspace(random.uniform(0, 0.2), 1, 120)
    angle = handed * along * turns * 2 * np.pi + random.uniform(0, 2 * np.pi)
    reach = random.uniform(16, 28, 2) * along[:, None]
    points = CANVAS / 2 + reach * np.stack([np.cos(angle), np.sin(angle)], 1)
    picture, places = canvas(), (points * 2**SHIFT).round().astype(np.int32)
    width = int(random.integers(1, 5))
    cv2.polylines(picture, [places], False, (255.0,), width, cv2.LINE_AA, SHIFT)
    return picture


def _crescent(random: Generator) -> Pixels:
    """Return a filled or an outlined crescent."""
    picture, radius = canvas(), random.uniform(16, 26)
    shift = radius * random.uniform(0.3, 0.9)
    middle = int(CANVAS / 2), int(CANVAS / 2)
    cv2.circle(picture, middle, int(radius), (255.0,), -1, cv2.LINE_AA)
    other = int(CANVAS / 2 + shift), middle[1]
    cv2.circle(picture, other, int(radius * random.uniform(0.75, 1)), (0.0,), -1, cv2.LINE_AA)
    if random.random() < 0.4:
        picture = _outline(picture)
    return _rotate(random, picture)


def _hand_shape(random: Generator) -> Pixels:
    """Return a filled or an outlined hand with two to five fingers spread."""
    picture, palm = canvas(), np.array([CANVAS / 2, 44.0])
    breadth = int(random.integers(4, 9))
    cv2.ellipse(picture, (int(palm[0]), int(palm[1])), (12, 14), 0, 0, 360, (255.0,), -1)
    fingers = int(random.integers(2, 6))
    for angle in np.linspace(-1, 1, fingers) * random.uniform(0.5, 1.1):
        reach = random.uniform(22, 38)
        tip = palm + reach * np.array([np.sin(angle), -np.cos(angle)])
        cv2.line(
            picture, (int(palm[0]), int(palm[1])), (int(tip[0]), int(tip[1])), (255.0,), breadth
        )
    if random.random() < 0.5:
        picture = _outline(picture)
    return _rotate(random, picture) if random.random() < 0.5 else picture
