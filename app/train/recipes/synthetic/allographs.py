"""Digits as other schools and prints shape them: a random form of each digit, in a random hand."""

from collections.abc import Mapping
from typing import Final

from numpy.random import Generator

from app.train.recipes.synthetic.digit_forms import DIGIT_FORMS, Forms
from app.train.recipes.synthetic.glyphs import Pixels, one_of
from app.train.recipes.synthetic.hand import write
from app.train.recipes.synthetic.uploads import draw_upload

# Digits of low resolution, as `load_digits` and small crops are.
COARSE_PROBABILITY: Final = 0.4


def draw_allograph(
    random: Generator, forms: Mapping[int, Forms] = DIGIT_FORMS
) -> tuple[Pixels, int]:
    """Return a synthetic digit, (28, 28), and its label: any digit, in any of its forms."""

    def draw(random: Generator) -> tuple[Pixels, int]:
        label = int(random.integers(10))
        return write(random, one_of(random, list(forms[label].values()))), label

    return draw_upload(random, draw, COARSE_PROBABILITY)
