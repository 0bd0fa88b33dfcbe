"""Recognise an image that already is in MNIST's form, so that it passes untouched.

What enters: a grey image of any size. What leaves: its pixels, ink light on dark, or None.
This module does not know how other images are brought into that form.

Most uploads take no other way than this one, so that it is made of what is quick on 784 bytes:
tables, and one product.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 28
BOX: Final = 20

# Measured on all 70,000 digits: 99.9 % have a longer side of exactly 20 pixels and the rest come
# near it; the centre of mass, in pixel indices, lies between 13.48 and 14.50 in every one.
LONG_SIDES: Final = (18, 20)
MASS: Final = (13.3, 14.7)

# Every one reaches 254 and is exactly 0 on 0.55 of its pixels or more. JPEG at quality 30 leaves
# at least 240, and 0.56 up to BARE. Anything else would look too faint, or too thick, to a network
# that knows MNIST alone.
PEAK: Final = 230
BARE: Final = 12
GROUND: Final = 0.5
PIXELS: Final = SIDE * SIDE
ZERO_BYTE: Final = b"\0"
INVERSE: Final = bytes(range(255, -1, -1))
TONES: Final = bytes(
    b"-"[0] if tone <= BARE else b"#"[0] if tone >= PEAK else 0 for tone in range(256)
)

# Below this, JPEG's ringing; above it, ink.
FAINT: Final = 48
INK: Final = bytes(tone if tone > FAINT else 0 for tone in range(256))

# Times the ink: its mass, and its first moments across and down.
MOMENTS: Final = np.stack(
    [np.ones(PIXELS), np.tile(np.arange(SIDE), SIDE), np.repeat(np.arange(SIDE), SIDE)]
).astype(np.float32)


class MnistImage(NamedTuple):
    """The pixels as they are, inverted back if need be, and where the ink lies in them."""

    pixels: NDArray[np.uint8]  # (28, 28)
    inverted: bool
    box: tuple[int, int, int, int]


def detect_mnist_format(grey: NDArray[np.uint8]) -> MnistImage | None:
    """Recognise by tones, size and place of the ink; None where the image is in another form."""
    if grey.shape != (SIDE, SIDE):
        return None
    data = grey.tobytes()
    if inverted := data[0] > 127:
        data = data.translate(INVERSE)
    tones = data.translate(TONES)
    if tones.count(b"-") < GROUND * PIXELS or b"#" not in tones:
        return None
    ink = np.frombuffer(data.translate(INK), np.uint8).reshape(SIDE, SIDE)
    top, bottom = _extent(ink)
    left, right = _extent(ink.T)
    if not LONG_SIDES[0] <= max(right - left, bottom - top) <= LONG_SIDES[1]:
        return None
    mass, across, down = (MOMENTS @ ink.reshape(-1).astype(np.float32)).tolist()
    if not all(MASS[0] <= first / mass <= MASS[1] for first in (across, down)):
        return None
    pixels = np.frombuffer(data, np.uint8).reshape(SIDE, SIDE)
    return MnistImage(pixels, inverted, (left, top, right, bottom))


def _extent(ink: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the first row with ink, and the one after the last."""
    data = ink.tobytes()
    last = len(data.rstrip(ZERO_BYTE)) - 1
    return (PIXELS - len(data.lstrip(ZERO_BYTE))) // SIDE, last // SIDE + 1
