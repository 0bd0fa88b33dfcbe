"""What surrounds a digit is no part of it; other digits are counted. Ten variants of each kind."""

import numpy as np
import pytest

from app.errors import BlankImage
from app.image.normalise import normalise
from tests.image.drawings import Sheet

VARIANTS = range(10)


def answer(model, grey):
    """Return the digit, whether it is accepted, and the number of digits in the picture."""
    normalised = normalise(grey)
    (answer,) = model.answer(normalised.pixels[None])
    return answer.digit, answer.is_digit, normalised.digit_count


@pytest.mark.parametrize("seed", VARIANTS)
@pytest.mark.parametrize("digits", [(7, 1), (4, 0), (1, 1), (0, 6, 7)])
def test_digits_in_a_row_are_counted(seed, digits):
    sheet = Sheet(seed, 240, 200 * len(digits))
    for number, digit in enumerate(digits):
        x = 100 + 200 * number + sheet.random.uniform(-25, 25)
        sheet.digit(digit, x, 120 + sheet.random.uniform(-15, 15), sheet.random.uniform(100, 140))
    assert normalise(sheet.grey()).digit_count == len(digits)


@pytest.mark.parametrize("seed", VARIANTS)
def test_digits_in_a_column_are_counted(seed):
    sheet = Sheet(seed, 440, 240)
    sheet.digit(4, 120, 120, sheet.random.uniform(100, 140))
    sheet.digit(7, 120, 320, sheet.random.uniform(100, 140))
    assert normalise(sheet.grey()).digit_count == 2


@pytest.mark.parametrize("seed", VARIANTS)
@pytest.mark.parametrize("digit", [0, 6])
def test_digits_that_nearly_touch_are_counted(seed, digit):
    sheet = Sheet(seed, 280, 320)
    left, _, right, _ = sheet.digit(digit, 90, 140, sheet.random.uniform(100, 130))
    step = right - left + round(sheet.random.uniform(8, 18))
    sheet.ink = np.maximum(sheet.ink, np.roll(sheet.ink, step, axis=1))
    assert normalise(sheet.grey()).digit_count == 2


@pytest.mark.parametrize("seed", VARIANTS)
@pytest.mark.parametrize("above", [False, True])
def test_line_at_a_digit_is_no_part_of_it(robust_model, seed, above):
    sheet = Sheet(seed)
    left, top, right, bottom = sheet.digit(0, 140, 130, sheet.random.uniform(110, 140))
    distance, beyond = sheet.random.uniform(14, 30), sheet.random.uniform(20, 60)
    y = top - distance if above else bottom + distance
    sheet.line([(left - beyond, y), (right + beyond, y + sheet.random.uniform(-3, 3))])
    assert answer(robust_model, sheet.grey()) == (0, True, 1)


@pytest.mark.parametrize("seed", VARIANTS)
def test_foot_of_a_neighbour_at_the_border_is_no_part_of_the_digit(robust_model, seed):
    sheet = Sheet(seed)
    _, top, _, _ = sheet.digit(6, 140, 155, sheet.random.uniform(165, 185))
    size = sheet.random.uniform(160, 190)
    foot = top - sheet.random.uniform(18, 34)
    sheet.digit(0, 140 + sheet.random.uniform(-15, 15), foot - size / 2, size)
    assert answer(robust_model, sheet.grey()) == (6, True, 1)


@pytest.mark.parametrize("seed", VARIANTS)
@pytest.mark.parametrize("shape", ["square", "circle"])
def test_frame_around_a_digit_is_no_part_of_it(robust_model, seed, shape):
    sheet = Sheet(seed)
    half = sheet.random.uniform(65, 105)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    angles = np.linspace(0, 2 * np.pi, 40)
    ring = corners if shape == "square" else np.stack([np.cos(angles), np.sin(angles)], 1)
    sheet.line(140 + half * ring, pen=5, closed=True)
    sheet.digit(7, 140, 140, half * sheet.random.uniform(0.9, 1.1))
    assert answer(robust_model, sheet.grey()) == (7, True, 1)


def ring_with_stroke(seed, lean):
    """Return a sheet with a 0 and a straight stroke in it that leans by so many degrees."""
    sheet = Sheet(seed)
    radius = sheet.random.uniform(55, 95)
    angles = np.linspace(0, 2 * np.pi, 40)
    sheet.line(
        140 + radius * np.stack([0.8 * np.cos(angles), np.sin(angles)], 1), pen=9, closed=True
    )
    reach = radius * sheet.random.uniform(0.35, 0.5)
    end = reach * np.array([np.sin(np.radians(lean)), -np.cos(np.radians(lean))])
    sheet.line([140 - end, 140 + end], pen=9)
    return sheet.grey()


@pytest.mark.parametrize("seed", VARIANTS)
@pytest.mark.parametrize("lean", [42, 50, 60])
def test_slash_in_a_0_is_no_digit_in_a_circle(robust_model, seed, lean):
    digit, _, count = answer(robust_model, ring_with_stroke(seed, lean))
    assert (digit, count) == (0, 1)


@pytest.mark.parametrize("seed", VARIANTS)
@pytest.mark.parametrize("lean", [0, 10, 25])
def test_1_in_a_circle_is_read(robust_model, seed, lean):
    assert answer(robust_model, ring_with_stroke(seed, lean)) == (1, True, 1)


@pytest.mark.parametrize("seed", VARIANTS)
@pytest.mark.parametrize("share", [0.02, 0.03])
def test_clean_small_digit_is_read(robust_model, seed, share):
    sheet = Sheet(seed, 1000, 1000)
    sheet.pen = 2 if share < 0.03 else 3
    x, y = sheet.random.uniform(150, 850, 2)
    sheet.digit(7, x, y, 1000 * share)
    digit, _, count = answer(robust_model, sheet.grey())
    assert (digit, count) == (7, 1)


@pytest.mark.parametrize("seed", VARIANTS)
def test_dot_of_a_small_digits_size_is_refused(seed):
    sheet = Sheet(seed, 1000, 1000)
    x, y = sheet.random.uniform(150, 850, 2)
    sheet.line([(x, y), (x, y)], pen=22)
    with pytest.raises(BlankImage):
        normalise(sheet.grey())


@pytest.mark.parametrize("seed", VARIANTS)
@pytest.mark.parametrize("digit", [0, 1, 4, 6, 7])
def test_single_digit_is_one(robust_model, seed, digit):
    sheet = Sheet(seed)
    sheet.digit(digit, 140, 140, sheet.random.uniform(80, 180))
    assert answer(robust_model, sheet.grey()) == (digit, True, 1)
