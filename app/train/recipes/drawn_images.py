"""The images of the recipe `robust`; the synthetic ones are drawn when a batch first needs them.

To draw all of them takes minutes, but a batch of 200 needs a third of a second. So the training
begins at once. Each picture has a generator of random numbers of its own: in whatever order they
are drawn, also in another attempt, they have the same bits.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor

from app.net import SIDE
from app.train.plan.recipe_sizes import ALLOGRAPHS, NEGATIVES, SYNTHETIC_DIGITS
from app.train.recipes.dataset import Digits
from app.train.recipes.picture_cache import PictureCache, key_of
from app.train.recipes.synthetic.allographs import draw_allograph
from app.train.recipes.synthetic.digits import draw_digit
from app.train.recipes.synthetic.glyphs import Pixels
from app.train.recipes.synthetic.negatives import draw_negative

# Seconds of drawing between two writes of the pictures: a killed process loses no more. A write of
# 44 MB takes less than a second.
STORE_INTERVAL: Final = 30.0


@dataclass(slots=True)
class Drawing:
    """How a training draws its pictures, and how far it is.

    `on_drawn` is called after each picture. `cache` stores the pictures for other attempts and
    jobs. `seconds` is the time that was spent on the `drawn` ones of the `total`.
    """

    on_drawn: Callable[["Drawing"], None] = field(default=lambda _: None)
    cache: PictureCache | None = None
    drawn: int = 0
    total: int = 0
    seconds: float = 0.0

    @property
    def remaining_seconds(self) -> float:
        """Return the seconds that the missing pictures will take; 0 before the first."""
        return (self.total - self.drawn) * self.seconds / max(1, self.drawn)


class DrawnImages:
    """Digits, followed by images without a digit.

    `pixels` are (N, 28, 28) uint8, and `labels` (N,) int64; the first `digits` of them show a
    digit. They are complete for indices that `take` has returned.
    """

    def __init__(self, originals: Digits, non_digits: Tensor, seed: int, drawing: Drawing) -> None:
        self.originals, self.seed, self.drawing = originals, seed, drawing
        self.digits = len(originals) + SYNTHETIC_DIGITS + ALLOGRAPHS
        count = SYNTHETIC_DIGITS + ALLOGRAPHS + NEGATIVES
        self._synthetic = slice(len(originals), len(originals) + count)
        blank = torch.zeros((count, SIDE, SIDE), dtype=torch.uint8)
        self.pixels = torch.cat([originals.pixels, blank, non_digits])
        self.labels = torch.zeros(len(self.pixels), dtype=torch.int64)
        self.labels[: len(originals)] = originals.labels
        self._is_missing = torch.zeros(len(self.pixels), dtype=torch.bool)
        self._is_missing[self._synthetic] = True
        self._key = self._load()
        self._stored, self._next_store = 0, STORE_INTERVAL

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, indices: Tensor) -> Digits:
        """Return the images at these indices, and draw those that are missing."""
        self._draw(torch.unique(indices[self._is_missing[indices]]))
        return Digits(self.pixels[indices], self.labels[indices])

    def draw_remaining(self) -> None:
        """Draw all images that are missing."""
        self._draw(self._is_missing.nonzero()[:, 0])
        self.store()

    def _load(self) -> str:
        """Read the pictures that are stored, and return their key; without a cache it is empty."""
        key = ""
        if self.drawing.cache:
            key = key_of(self.seed, self.originals, SYNTHETIC_DIGITS, ALLOGRAPHS, NEGATIVES)
            for name, array in (self.drawing.cache.load(key) or {}).items():
                self._tensors()[name][self._synthetic] = torch.from_numpy(array)
        self.drawing.total = int(self._is_missing.sum())
        return key

    def _tensors(self) -> dict[str, Tensor]:
        """Return the tensors whose synthetic part is stored, by name."""
        return {"pixels": self.pixels, "labels": self.labels, "is_missing": self._is_missing}

    def _draw(self, indices: Tensor) -> None:
        pixels = self.pixels.numpy()
        for index in indices.tolist():
            started = time.monotonic()
            # Some pictures are read-only arrays, and torch warns of these.
            pixels[index], self.labels[index] = self._picture(index - len(self.originals))
            self._is_missing[index] = False
            self.drawing.drawn += 1
            self.drawing.seconds += time.monotonic() - started
            if self.drawing.seconds >= self._next_store:
                self.store()
            self.drawing.on_drawn(self.drawing)

    def store(self) -> None:
        """Store what is drawn, for other attempts and jobs."""
        self._next_store = self.drawing.seconds + STORE_INTERVAL
        if self.drawing.cache and self.drawing.drawn > self._stored:
            self._stored = self.drawing.drawn
            tensors = self._tensors().items()
            pictures = {name: tensor[self._synthetic].numpy() for name, tensor in tensors}
            self.drawing.cache.store(self._key, pictures)

    def _picture(self, number: int) -> tuple[Pixels, int]:
        """Return the synthetic image with this number, and its label."""
        random = np.random.default_rng((self.seed, number))
        if number < SYNTHETIC_DIGITS:
            return draw_digit(random, self.originals)
        if number < SYNTHETIC_DIGITS + ALLOGRAPHS:
            return draw_allograph(random)
        return draw_negative(random, self.originals.pixels.numpy(), number), 0
