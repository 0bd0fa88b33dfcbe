"""Negative examples: synthetic images that show no digit, for outlier exposure.

They show letters and signs, doodles, silhouettes, textures, several digits or nothing. All but the
last are normalised in the same way as uploads. No image comes from another data set, so that any
data set can serve as a test.
"""

import string
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.random import Generator
from numpy.typing import NDArray

from app.errors import BlankImage
from app.image.normalise import normalise
from app.net import SIDE
from app.train.recipes.synthetic.doodles import draw_doodle, draw_paper
from app.train.recipes.synthetic.glyphs import (
    CANVAS,
    Pixels,
    canvas,
    draw_sign,
    one_of,
    to_tones,
)
from app.train.recipes.synthetic.hand import write
from app.train.recipes.synthetic.letter_forms import LETTER_FORMS
from app.train.recipes.synthetic.nothing import draw_nothing

# These signs look like digits, so they are excluded.
DIGIT_LIKE_SIGNS: Final = set("oOlIiSsZzBqgQ")
SIGNS: Final = sorted(set(string.ascii_letters + "+-=*#&%@$?<>{}~^") - DIGIT_LIKE_SIGNS)
# A narrow bar could be a 1. A row of digits shows a digit if normalisation keeps only one of them.
MAX_BAR_ASPECT: Final = 0.24
MAX_DIGIT_SIDE: Final = 36  # pixels; a digit of MNIST has 20


def draw_negative(random: Generator, digits: Pixels, number: int) -> Pixels:
    """Return an image, (28, 28) uint8; its number chooses the kind.

    A row of several digits is made of `digits`, (N, 28, 28).
    """
    kinds: list[Callable[[Generator], Pixels]] = [
        _sign, _sign, _sign, _sign, _sign, _letter, _letter, _letter, _letter,
        draw_doodle, draw_doodle, draw_doodle, _scribble, _figure, _object,
        _garment, _garment, _garment, _garment, _silhouette, _silhouette, _silhouette,
        _texture, _texture, _texture, draw_paper, draw_nothing,
        lambda random: _digit_row(random, digits),
    ]  # fmt: skip
    draw = kinds[number % len(kinds)]
    while True:
        picture = draw(random)
        if draw is draw_nothing:
            return picture
        negative = _normalised_or_none(255 - picture if random.random() < 0.5 else picture)
        if negative is not None:
            return negative


def _normalised_or_none(picture: Pixels) -> Pixels | None:
    """Return the normalised image, or None if it is blank or may show a digit."""
    try:
        normalised = normalise(np.ascontiguousarray(picture))
    except BlankImage:
        return None
    left, top, right, bottom = normalised.box
    is_bar = right - left < MAX_BAR_ASPECT * (bottom - top)
    is_lone = max(picture.shape) > CANVAS and max(right - left, bottom - top) < MAX_DIGIT_SIDE
    return None if is_bar or is_lone else normalised.pixels


def _sign(random: Generator) -> Pixels:
    return draw_sign(random, one_of(random, SIGNS))


def _letter(random: Generator) -> Pixels:
    return write(random, one_of(random, list(LETTER_FORMS.values())))


def _scribble(random: Generator) -> Pixels:
    """Return a few random strokes."""
    picture, width = canvas(), int(random.integers(1, 7))
    for _ in range(random.integers(2, 6)):
        corners = random.uniform(6, CANVAS - 6, (int(random.integers(2, 6)), 2))
        if random.random() < 0.5:
            corners = _round_corners(corners)
        cv2.polylines(picture, [_points(corners)], False, (255.0,), width, cv2.LINE_AA)
    return picture


def _figure(random: Generator) -> Pixels:
    """Return a polygon or a star. One with many corners is filled: its outline would be a 0."""
    picture, sides = canvas(), int(random.integers(3, 9))
    angles = np.arange(sides) * 2 * np.pi / sides + random.uniform(0, 6)
    reach = random.uniform(14, 28, 2)
    if random.random() < 0.4:
        reach = reach * np.where(np.arange(sides) % 2, 1, random.uniform(0.2, 0.6))[:, None]
    corners = CANVAS / 2 + reach * np.stack([np.cos(angles), np.sin(angles)], 1)
    if sides > 5 or random.random() < 0.5:
        cv2.fillPoly(picture, [_points(corners)], (255.0,), cv2.LINE_AA)
    else:
        width = int(random.integers(1, 6))
        cv2.polylines(picture, [_points(corners)], True, (255.0,), width, cv2.LINE_AA)
    return picture


def _object(random: Generator) -> Pixels:
    """Return a figure with attached strokes."""
    picture = cv2.resize(_figure(random), None, fx=1, fy=random.uniform(0.2, 1))
    picture = np.vstack([np.zeros((CANVAS - len(picture), CANVAS), np.uint8), picture])
    return np.maximum(picture, _scribble(random))


def _silhouette(random: Generator) -> Pixels:
    """Return a shape of varying width, with or without a gap, upright or lying."""
    knots = np.linspace(0, 1, int(random.integers(3, 7)))
    rows = np.linspace(0, 1, SIDE)
    left, right = (np.interp(rows, knots, random.uniform(0.1, 1, len(knots))) for _ in range(2))
    if random.random() < 0.7:
        right = left
    across = (np.arange(SIDE)[None] - SIDE / 2 + 0.5) / random.uniform(6, 13)
    inside = (across <= right[:, None]) & (across >= -left[:, None])
    inside[: random.integers(0, 6)] = inside[random.integers(22, 29) :] = False
    if random.random() < 0.35:  # legs, a handle, a neck
        low, high = np.sort(random.uniform(0, 1.2, 2))
        gap = np.abs(across - random.uniform(-0.3, 0.3)) < random.uniform(0.05, 0.4)
        inside &= ~(gap & ((rows >= low) & (rows <= high))[:, None])
    return _shade(random, inside.T if random.random() < 0.4 else inside)


def _garment(random: Generator) -> Pixels:
    """Return a garment of filled parts: a body, sleeves, and a neckline at the top."""
    picture, half = canvas(), CANVAS / 2
    top, bottom = random.uniform(4, 14), random.uniform(46, 60)
    shoulder, hem = random.uniform(7, 22, 2)
    body = [
        (half - shoulder, top),
        (half + shoulder, top),
        (half + hem, bottom),
        (half - hem, bottom),
    ]
    parts = [body]
    reach, drop, wide = random.uniform(2, 20), random.uniform(0, 44), random.uniform(4, 14)
    for side in (-1, 1) if random.random() < 0.85 else (1,):
        near, far = half + side * shoulder, half + side * (shoulder + reach)
        parts.append(
            [
                (near, top),
                (far, top + drop),
                (far - side * wide, top + drop + 4),
                (near, top + wide),
            ]
        )
    for part in parts:
        cv2.fillPoly(picture, [_points(np.array(part))], (255.0,), cv2.LINE_AA)
    if random.random() < 0.5:
        size = int(random.uniform(3, 10)), int(random.uniform(2, 14))
        cv2.ellipse(
            picture, (int(half), int(top)), size, 0, 0, 360, (0.0,), cv2.FILLED, cv2.LINE_AA
        )
    side = SIDE if random.random() < 0.7 else CANVAS
    small = cv2.resize(_flip_randomly(random, picture), (side, side), interpolation=cv2.INTER_AREA)
    return _shade(random, small > 127)


def _shade(random: Generator, inside: NDArray[np.bool_]) -> Pixels:
    """Return the shape in light tones, with or without a pattern."""
    side, kind = len(inside), random.random()
    tones = 1 - _field(random, side, random.uniform(1, 8)) * random.uniform(0, 0.9)
    if kind < 0.25:
        period = random.uniform(2, 8) * side / SIDE
        stripes = np.arange(side) % period < period * random.uniform(0.3, 0.7)
        tones = tones * (1 - random.uniform(0.2, 1) * (stripes if kind < 0.1 else stripes[:, None]))
    elif kind < 0.5:
        spots = _field(random, side, random.uniform(0.5, 2.5)) > random.uniform(0.35, 0.7)
        tones = tones * (1 - random.uniform(0.2, 1) * spots)
    return to_tones(inside * tones * random.uniform(80, 255))


def _texture(random: Generator) -> Pixels:
    """Return clouds, stripes, a checkerboard or noise."""
    side = one_of(random, (28, 28, 32, 64))
    picture, kind = _field(random, side, float(np.exp(random.uniform(-1, 2.5)))), random.random()
    angle, (y, x) = random.uniform(0, np.pi), np.mgrid[:side, :side]
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * random.uniform(0.2, 1.6))
    if kind < 0.25:
        picture = picture * 0.5 + wave * 0.25 + 0.25
    elif kind < 0.4:
        picture = wave * np.roll(wave.T, int(random.integers(9)), 0) * 0.5 + 0.5
    elif kind < 0.6:
        picture = (picture > random.uniform(0.4, 0.8)).astype(np.float64)
    noise = random.normal(0, random.uniform(0, 0.2), picture.shape)
    low, high = np.sort(random.uniform(0, 255, 2))
    return to_tones(low + (picture + noise) * (high - low))


def _digit_row(random: Generator, digits: Pixels) -> Pixels:
    """Return two or three digits close to each other in a row."""
    chosen = digits[random.integers(0, len(digits), int(random.integers(2, 4)))]
    edge = int(random.integers(2, 7))
    return np.pad(np.concatenate([digit[:, edge : SIDE - edge] for digit in chosen], 1), 20)


def _flip_randomly(random: Generator, picture: MatLike) -> MatLike:
    return picture if random.random() < 0.5 else cv2.flip(picture, int(random.integers(0, 2)))


def _points(corners: NDArray[np.float64]) -> MatLike:
    return corners.round().astype(np.int32).reshape(-1, 1, 2)


def _round_corners(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the polyline with its corners cut three times (Chaikin 1974)."""
    for _ in range(3):
        first, second = corners[:-1], corners[1:]
        cut = [0.75 * first + 0.25 * second, 0.25 * first + 0.75 * second]
        corners = np.stack(cut, 1).reshape(-1, 2)
    return corners


def _field(random: Generator, side: int, smooth: float) -> NDArray[np.float64]:
    """Return smooth noise from 0 to 1, (side, side)."""
    noise = cv2.GaussianBlur(random.normal(size=(side, side)), (0, 0), smooth)
    return np.asarray((noise - noise.min()) / max(np.ptp(noise), 1e-9))
