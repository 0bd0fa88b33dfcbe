import numpy as np
import pytest

from app.errors import BlankImage
from app.image.normalise import normalise
from app.train.recipes.synthetic.allographs import draw_allograph
from app.train.recipes.synthetic.digit_forms import DIGIT_FORMS
from app.train.recipes.synthetic.doodles import ROTATABLE, UPRIGHT, draw_doodle, draw_paper
from app.train.recipes.synthetic.hand import write
from app.train.recipes.synthetic.letter_forms import LETTER_FORMS
from app.train.recipes.synthetic.nothing import draw_nothing
from tools.unseen_forms import UNSEEN_DIGITS, UNSEEN_DOODLES, UNSEEN_LETTERS

FORMS = [
    pytest.param(strokes, id=f"{digit} {name}")
    for digit, forms in DIGIT_FORMS.items()
    for name, strokes in forms.items()
]


def make_rng():
    return np.random.default_rng(5)


def draw_allographs(count):
    random = make_rng()
    pixels, labels = zip(*(draw_allograph(random) for _ in range(count)), strict=True)
    return np.stack(pixels), np.array(labels)


def test_draw_allograph_of_one_seed_draws_the_same():
    (pixels, labels), (same_pixels, same_labels) = (draw_allographs(40) for _ in range(2))
    assert np.array_equal(pixels, same_pixels)
    assert np.array_equal(labels, same_labels)
    assert len(np.unique(pixels, axis=0)) == 40


def test_draw_allograph_draws_all_digits():
    pixels, labels = draw_allographs(300)
    assert (pixels.shape, pixels.dtype) == ((300, 28, 28), np.uint8)
    assert np.bincount(labels, minlength=10).min() > 10


@pytest.mark.parametrize("strokes", FORMS)
def test_write_of_each_form_is_accepted_by_the_normalisation(strokes):
    random = make_rng()
    pictures = [write(random, strokes) for _ in range(8)]
    for picture in pictures:
        assert normalise(255 - picture).pixels.max() > 200
    assert len({picture.tobytes() for picture in pictures}) == 8


@pytest.mark.parametrize(
    "forms", [LETTER_FORMS, UPRIGHT, ROTATABLE, UNSEEN_LETTERS, UNSEEN_DOODLES]
)
def test_write_of_other_forms_leaves_ink(forms):
    random = make_rng()
    for strokes in forms.values():
        assert normalise(write(random, strokes)).pixels.max() > 200


def test_every_digit_has_several_forms_and_some_that_are_never_trained():
    assert [*DIGIT_FORMS] == [*UNSEEN_DIGITS] == list(range(10))
    for digit, forms in DIGIT_FORMS.items():
        assert len(forms) >= 5
        assert len(UNSEEN_DIGITS[digit]) >= 2
        assert not {*forms.values()} & {*UNSEEN_DIGITS[digit].values()}


@pytest.mark.parametrize("draw", [draw_doodle, draw_paper, draw_nothing])
def test_pictures_of_no_digit_differ_each_time_and_repeat_by_seed(draw):
    first, second = ([draw(random) for _ in range(30)] for random in (make_rng(), make_rng()))
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert all(picture.dtype == np.uint8 for picture in first)
    assert len({picture.tobytes() for picture in first}) >= 29


def test_most_pictures_of_nothing_are_blank_for_the_normalisation():
    """The network sees them if pixels come without normalisation."""
    random, blank = make_rng(), 0
    for _ in range(100):
        try:
            normalise(np.pad(draw_nothing(random), 20, mode="edge"))
        except BlankImage:
            blank += 1
    assert blank > 50
