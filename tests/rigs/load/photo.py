"""A photo of a digit, 12 megapixels, as a phone takes it."""

from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image

from app.train.recipes.dataset import load
from tests.conftest import DATA

PHOTO_SIZE: Final = (3000, 4000)


def photo(reduced: int = 1) -> tuple[bytes, int]:
    """Return a photo of a digit, dark on uneven paper, and which digit it is; `reduced` by a factor
    at each side.
    """
    test = load(DATA).test
    digit = Image.fromarray(test.pixels[0].numpy()).resize((1500, 1500), Image.Resampling.BICUBIC)
    ink = np.zeros(PHOTO_SIZE, np.float32)
    ink[700:2200, 1200:2700] = np.asarray(digit, np.float32) / 255
    light = np.linspace(170, 230, PHOTO_SIZE[1], dtype=np.float32)
    noise = np.random.default_rng(1).normal(0, 4, PHOTO_SIZE).astype(np.float32)
    grey = (light * (1 - 0.8 * ink) + noise).clip(0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(grey).convert("RGB").reduce(reduced).save(file, "JPEG", quality=90)
    return file.getvalue(), int(test.labels[0])
