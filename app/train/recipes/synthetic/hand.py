"""Random handwriting: proportions, slant, trembling and pen of one writer, and what the pen draws.

Images are light on dark.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from app.train.recipes.synthetic.glyphs import CANVAS, Pixels, canvas, to_tones
from app.train.recipes.synthetic.strokes import Points, draw_curve, parse_stroke

# Height of the writing in pixels, and the pen's width in shares of that height.
MIN_HEIGHT, MAX_HEIGHT = 28.0, 46.0
MIN_PEN, MAX_PEN = 0.05, 0.2
# Slant to the right (x for each y), rotation in radians, and width of a sign for its height.
MIN_SLANT, MAX_SLANT = -0.3, 0.65
MAX_ROTATION: Final = 0.14
MIN_ASPECT, MAX_ASPECT = 0.4, 1.05
# Standard deviation of control points, some of a hasty writer, and the largest trembling, in shares
# of the height.
MAX_JITTER: Final = 0.06
HASTY_JITTER: Final = 0.1
HASTY_PROBABILITY: Final = 0.25
MAX_TREMBLE: Final = 0.025
FLAT_NIB_PROBABILITY: Final = 0.15
# cv2 draws to a sixteenth of a pixel.
SHIFT: Final = 4


class Hand(NamedTuple):
    """How one writer writes one sign; `matrix` (2, 2) maps the sign's box to pixels."""

    matrix: NDArray[np.float64]
    pen: float  # pixels
    nib: float  # pixels between the edges of a flat nib; 0 is a round pen
    jitter: float
    tremble: float


def draw_hand(random: Generator) -> Hand:
    """Return a random writer's hand."""
    height = random.uniform(MIN_HEIGHT, MAX_HEIGHT)
    width = height * random.uniform(MIN_ASPECT, MAX_ASPECT)
    angle, slant = random.uniform(-MAX_ROTATION, MAX_ROTATION), random.uniform(MIN_SLANT, MAX_SLANT)
    slant *= random.random()  # most hands are upright
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotation @ [[width, -slant * height], [0, height]]
    pen = height * float(np.exp(random.uniform(np.log(MIN_PEN), np.log(MAX_PEN))))
    nib = pen * random.uniform(0.5, 1) if random.random() < FLAT_NIB_PROBABILITY else 0.0
    max_jitter = HASTY_JITTER if random.random() < HASTY_PROBABILITY else MAX_JITTER
    jitter, tremble = random.uniform(0.01, max_jitter), random.uniform(0, MAX_TREMBLE)
    return Hand(matrix, pen - nib / 2, nib, jitter, tremble)


def write(random: Generator, strokes: Sequence[str]) -> Pixels:
    """Return an image of the strokes in a random hand, (64, 64)."""
    hand = draw_hand(random)
    curves = [draw_curve(random, parse_stroke(text), hand.jitter) for text in strokes]
    lines = [_tremble(random, curve, hand.tremble) @ hand.matrix.T for curve in curves]
    return _ink(random, lines, hand)


def _tremble(random: Generator, curve: Points, strength: float) -> Points:
    """Displace the curve by two slow waves along its length."""
    along = np.linspace(0, 2 * np.pi, len(curve))[:, None]
    speed, phase = random.uniform(0.5, 5, (2, 2)), random.uniform(0, 2 * np.pi, (2, 2))
    waves: Points = np.sin(along * speed[0] + phase[0]) + np.sin(along * speed[1] + phase[1])
    return np.add(curve, strength * waves)


def _ink(random: Generator, lines: list[Points], hand: Hand) -> Pixels:
    """Draw the lines about the middle of an image, shrunk if they do not fit."""
    every = np.concatenate(lines)
    low, high = every.min(0), every.max(0)
    fit = min(1.0, (CANVAS - 4 - hand.pen - hand.nib) / max(1.0, float((high - low).max())))
    origin = CANVAS / 2 - fit * (low + high) / 2
    picture, width = canvas(), max(1, round(hand.pen * fit))
    half = hand.nib * fit / 2 * np.array([np.cos(0.8), -np.sin(0.8)])
    for offset in (-half, 0 * half, half) if hand.nib else (0 * half,):
        places = [
            ((line * fit + origin + offset) * 2**SHIFT).round().astype(np.int32) for line in lines
        ]
        cv2.polylines(picture, places, False, (255.0,), width, cv2.LINE_AA, SHIFT)
    soft = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.3, 1.0))
    return to_tones(soft * random.uniform(0.6, 1.3))
