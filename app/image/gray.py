"""Convert colour and transparency to grey, keeping the contrast between ink and background.

The input is (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA pixels, the output (H, W) grey.
"""

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]

MIN_SOLID_ALPHA: Final = 200
MAX_SAME_TONE: Final = 40
MIN_OTHER_TONE: Final = 60

SAMPLE: Final = 256
GAIN: Final = 1.25


def flatten(pixels: Pixels) -> Pixels:
    """Put transparent pixels on a backdrop from which the drawing stands out."""
    if pixels.ndim < 3 or pixels.shape[2] < 4:
        return pixels
    colour, alpha = np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
    # An image that is transparent everywhere comes from software that leaves alpha unset.
    if alpha.min() == 255 or alpha.max() == 0:
        return colour
    ground = np.full_like(colour, np.rint(_backdrop(colour, alpha)))
    cover = cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB)
    drawn = cv2.multiply(colour, cover, scale=1 / 255)
    bare = cv2.multiply(ground, cv2.bitwise_not(cover), scale=1 / 255)
    return cv2.add(drawn, bare).astype(np.uint8, copy=False)


def _backdrop(colour: Pixels, alpha: Pixels) -> NDArray[np.float32]:
    """Return a backdrop: the card's own paper, or white or black in contrast to bare ink."""
    solid = alpha >= min(MIN_SOLID_ALPHA, int(alpha.max()))
    luma = _luminance(colour)
    rim = solid & (cv2.erode(solid.view(np.uint8), np.ones((3, 3), np.uint8)) == 0)
    if rim.any():
        tone = np.median(luma[rim])
        distance = cv2.absdiff(luma, np.full_like(luma, tone))
        rim_distance, solid_distance = distance[rim], distance[solid]
        # On a card, the edge is paper all round and the ink lies inside. If other tones are as
        # common at the edge as anywhere, they are strokes of several colours.
        inside = np.mean(solid_distance > MIN_OTHER_TONE)
        if np.mean(rim_distance < MAX_SAME_TONE) > 0.8 and inside > max(
            0.002, 2 * np.mean(rim_distance > MIN_OTHER_TONE)
        ):
            return np.asarray(np.median(colour[rim], axis=0), np.float32)
    dark = np.median(luma[solid]) < 128
    return np.full(3, 255 if dark else 0, np.float32)


def to_tones(pixels: Pixels) -> Pixels:
    """Return the luminance, or one channel if coloured ink has far more contrast in it."""
    if pixels.ndim == 2:
        return pixels
    step = min(1.0, SAMPLE / max(pixels.shape[:2]))
    sample = _shrink(pixels, step)
    if min(pixels.shape[:2]) * step < 1 or np.ptp(sample, axis=2).max() == 0:
        return _luminance(pixels)
    channels = [_contrast(sample[..., i]) for i in range(3)]
    best = int(np.argmax(channels))
    if channels[best] > GAIN * _contrast(_luminance(sample)):
        return np.ascontiguousarray(pixels[..., best])
    return _luminance(pixels)


def _shrink(pixels: Pixels, step: float) -> Pixels:
    small = cv2.resize(pixels, None, fx=step, fy=step, interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False)


def _luminance(pixels: Pixels) -> Pixels:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def _contrast(tones: Pixels) -> float:
    """Return the contrast of the most prominent hundredth of the pixels to their surroundings."""
    wide = cv2.blur(tones, (31, 31))
    distance = np.sort(cv2.absdiff(tones, wide), axis=None)
    return float(distance[-max(1, distance.size // 100) :].mean())
