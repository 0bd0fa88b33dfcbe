"""Random glyphs: letters, digits and signs, handwritten or printed, slightly warped.

Images are light on dark.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Hershey's strokes (Hershey 1967, "Calligraphy for computers").
FACES: Final = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
CANVAS: Final = 64
MAX_WARP: Final = 0.25
Pixels: TypeAlias = NDArray[np.uint8]  # (H, W)
T = TypeVar("T")


def draw_sign(random: Generator, sign: str) -> Pixels:
    """Return a random image of `sign`, (64, 64)."""
    draw = _handwritten_glyph if random.random() < 0.5 else _printed_glyph
    return _warp(random, draw(random, sign))


def canvas() -> Pixels:
    """Return an empty image, (64, 64)."""
    return np.zeros((CANVAS, CANVAS), np.uint8)


def to_tones(values: NDArray[np.floating]) -> Pixels:
    """Return the values as uint8, clipped to 0 … 255."""
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def one_of(random: Generator, choices: Sequence[T]) -> T:
    return choices[int(random.integers(len(choices)))]


def _warp(random: Generator, picture: MatLike) -> Pixels:
    """Rotate, shear and stretch (64, 64) pixels about their centre."""
    half = CANVAS / 2
    change = np.eye(2) + random.uniform(-MAX_WARP, MAX_WARP, (2, 2))
    matrix = np.concatenate([change, (half - change @ [half, half])[:, None]], 1)
    return np.asarray(cv2.warpAffine(picture, matrix, (CANVAS, CANVAS)), np.uint8)


def _handwritten_glyph(random: Generator, sign: str) -> Pixels:
    picture, width = canvas(), int(random.integers(1, 7))
    face, scale = one_of(random, FACES), random.uniform(1.2, 2.0)
    (across, up), down = cv2.getTextSize(sign, face, scale, width)
    place = (CANVAS - across) // 2, (CANVAS + up - down) // 2
    cv2.putText(picture, sign, place, face, scale, (255.0,), width, cv2.LINE_AA)
    return picture


def _printed_glyph(random: Generator, sign: str) -> Pixels:
    picture = Image.new("L", (CANVAS, CANVAS))
    font = _font(int(random.integers(36, 57)))
    bold = int(random.integers(0, 3))
    middle = CANVAS / 2, CANVAS / 2
    ImageDraw.Draw(picture).text(middle, sign, 255, font, "mm", stroke_width=bold)
    return np.asarray(picture)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font of Pillow, the only one that every machine has."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow must be built with FreeType"
    return font
