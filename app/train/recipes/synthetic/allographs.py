"""Digits as other schools and prints shape them: a random form of each digit, in a random hand."""

from collections.abc import Mapping
from typing import Final

from numpy.random import Generator

from app.train.recipes.dataset import Digits
from app.train.recipes.synthetic.digit_forms import DIGIT_FORMS, Forms
from app.train.recipes.synthetic.glyphs import OnDrawn, Pixels, ignore, one_of
from app.train.recipes.synthetic.hand import write
from app.train.recipes.synthetic.uploads import collect_digits

# Digits of low resolution, as `load_digits` and small crops are.
COARSE_PROBABILITY: Final = 0.4


def draw_allographs(
    random: Generator,
    count: int,
    on_drawn: OnDrawn = ignore,
    forms: Mapping[int, Forms] = DIGIT_FORMS,
) -> Digits:
    """Return `count` synthetic digits, evenly of all digits, and of all forms of a digit."""

    def draw(random: Generator) -> tuple[Pixels, int]:
        label = int(random.integers(10))
        return write(random, one_of(random, list(forms[label].values()))), label

    return collect_digits(random, draw, count, COARSE_PROBABILITY, on_drawn)
