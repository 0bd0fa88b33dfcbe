"""Empty squared paper is blank, and the digit on it is read. Ten variants of each kind."""

from contextlib import suppress

import cv2
import numpy as np
import pytest

from app.errors import BlankImage
from app.image.normalise import normalise
from app.image.ruled_lines import drop_lines
from app.image.segmentation.pieces import find_pieces
from tests.image.drawings import Sheet

VARIANTS = range(10)
SIDE = 320


def rule(sheet, *, squared=True, tone=255, fades=False):
    """Add lines with a random spacing, and turn them by up to eight degrees."""
    random, page = sheet.random, np.zeros((SIDE, SIDE), np.float32)
    spacing, width = int(random.integers(24, 70)), int(random.integers(2, 5))
    for first in range(int(random.integers(2, spacing)), SIDE, spacing):
        page[first : first + width] = tone
        if squared:
            page[:, first : first + width] = tone
    rotation = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), random.uniform(-8, 8), 1.2)
    page = cv2.warpAffine(page, rotation, (SIDE, SIDE))
    if fades:
        page *= np.linspace(1, 0.4, SIDE)[:, None]
    sheet.ink = np.maximum(sheet.ink, page.astype(np.uint8))


@pytest.mark.parametrize("seed", VARIANTS)
@pytest.mark.parametrize("tone", [60, 255])
def test_empty_squared_paper_is_blank(seed, tone):
    sheet = Sheet(seed, SIDE, SIDE)
    rule(sheet, tone=tone)
    grey = sheet.grey()
    with pytest.raises(BlankImage):
        normalise(grey)
    assert find_pieces(grey) is None


@pytest.mark.parametrize("seed", VARIANTS)
def test_squared_paper_that_fades_is_no_digit(robust_model, seed):
    sheet = Sheet(seed, SIDE, SIDE)
    rule(sheet, fades=True)
    with suppress(BlankImage):
        normalised = normalise(sheet.grey())
        (answer,) = robust_model.answer(normalised.pixels[None])
        assert not (answer.is_digit and normalised.digit_count == 1)


@pytest.mark.parametrize("seed", VARIANTS)
def test_empty_ruled_paper_is_blank(seed):
    sheet = Sheet(seed, SIDE, SIDE)
    rule(sheet, squared=False)
    with pytest.raises(BlankImage):
        normalise(sheet.grey())


@pytest.mark.parametrize("digit", [0, 1, 4, 7])
def test_digit_on_squared_paper_is_read(robust_model, digit):
    for seed in VARIANTS:
        assert read_on_paper(robust_model, digit, seed, tone=70) == digit


def test_most_digits_on_lines_as_dark_as_the_pen_are_read(robust_model):
    cases = [(digit, seed) for digit in (0, 1, 4, 7) for seed in VARIANTS]
    right = [read_on_paper(robust_model, *case, tone=255) == case[0] for case in cases]
    assert sum(right) >= 0.9 * len(right)


def read_on_paper(model, digit, seed, tone):
    sheet = Sheet(seed, SIDE, SIDE)
    sheet.pen = 14
    sheet.digit(digit, 160, 160, sheet.random.uniform(150, 200))
    rule(sheet, tone=tone)
    (answer,) = model.answer(normalise(sheet.grey()).pixels[None])
    return answer.digit


@pytest.mark.parametrize("seed", VARIANTS)
def test_one_from_border_to_border_is_a_digit(robust_model, seed):
    """A tight crop of a 1 with a thin pen, alone or with a foot."""
    sheet = Sheet(seed, 200, 100)
    sheet.pen = 4
    x = sheet.random.uniform(40, 60)
    sheet.line([(x, 0), (x, 199)])
    if seed % 2:
        sheet.line([(5, 196), (95, 196)])
    (answer,) = robust_model.answer(normalise(sheet.grey()).pixels[None])
    assert answer.digit == 1


@pytest.mark.parametrize("seed", VARIANTS)
def test_thick_strokes_of_a_tight_crop_are_no_lines(mnist, seed):
    digit = mnist.test.pixels[seed].numpy()
    left, top, width, height = cv2.boundingRect((digit > 60).astype(np.uint8))
    tight = np.ascontiguousarray(digit[top : top + height, left : left + width])
    thick = cv2.dilate(cv2.resize(tight, None, fx=8, fy=8), np.ones((9, 9), np.uint8))
    mask = (thick > 127).astype(np.uint8)
    np.testing.assert_array_equal(drop_lines(mask, mask), mask)
