"""The best path through a segmentation graph, and strings of real digits."""

import numpy as np
import pytest

from app.errors import BlankImage, TooManyDigits
from app.image.segmentation import segment as segmentation
from app.image.segmentation.box import Box
from app.image.segmentation.graph import Candidate, Cut, Graph
from app.image.segmentation.segment import segment
from app.mnist.files import read_test_images
from app.read.best_path import best_path, read_line
from tests.conftest import DATA
from tests.image.drawings import Sheet
from tools.digit_strings import draw_strings, read_text

BOX = Box(0, 0, 1, 1)
DROPPED_SMALL = 2.0


def graph(spans, small=()):
    """Return a graph with a candidate for each (first, last)."""
    nodes = max(last for _, last in spans)
    candidates = [Candidate(first, last, BOX, 0.5, 1.0, 0.0) for first, last in spans]
    cuts = [Cut(0, None)] * nodes
    skippable = [node in small for node in range(nodes)]
    return Graph(cuts, skippable, candidates, np.zeros((len(spans), 28, 28), np.uint8))


def test_path_with_the_least_total_wins():
    spans = [(0, 1), (1, 2), (0, 2), (2, 3)]
    assert best_path(graph(spans), np.array([1.0, 1.0, 3.0, 1.0]), DROPPED_SMALL) == [0, 1, 3]
    assert best_path(graph(spans), np.array([1.0, 1.0, 1.5, 1.0]), DROPPED_SMALL) == [2, 3]


def test_small_part_that_is_no_digit_is_dropped():
    spans = [(0, 1), (1, 2), (2, 3)]
    costs = np.array([1.0, 9.0, 1.0])
    assert best_path(graph(spans, small={1}), costs, DROPPED_SMALL) == [0, 2]
    assert best_path(graph(spans), costs, DROPPED_SMALL) == [0, 1, 2]


def test_line_without_a_complete_path_gives_what_it_has():
    assert best_path(graph([(0, 1), (2, 3)]), np.array([1.0, 1.0]), DROPPED_SMALL) == [0, 1]


@pytest.mark.parametrize(
    ("kind", "count", "share"), [("gaps", 40, 0.875), ("pairs", 40, 0.775), ("touching", 100, 0.45)]
)
def test_strings_of_test_digits_are_read(robust_model, kind, count, share):
    """Few strings; docs/explanation/accuracy.md has the figures of two thousand."""
    strings = list(draw_strings(kind, count, 3, *read_test_images(DATA)))
    right = [read_text(string.grey, robust_model) == string.text for string in strings]
    assert np.mean(right) >= share


@pytest.mark.parametrize("seed", range(10))
def test_lines_go_from_top_to_bottom_also_on_slanted_baselines(robust_model, seed):
    sheet = Sheet(seed, 420, 620)
    slope = sheet.random.uniform(-0.12, 0.12)
    for row, digits in enumerate([(7, 1, 4), (0, 6, 7)]):
        for column, digit in enumerate(digits):
            x = 120 + 190 * column + sheet.random.uniform(-20, 20)
            sheet.digit(digit, x, 110 + 190 * row + slope * (x - 310), 100)
    assert read_text(sheet.grey(), robust_model) == "714\n067"


@pytest.mark.parametrize("seed", range(10))
def test_boxes_lie_around_the_digits(robust_model, seed):
    sheet = Sheet(seed, 240, 420)
    drawn = [sheet.digit(digit, x, 120, 110) for digit, x in ((7, 110), (0, 300))]
    (line,) = [read_line(each_line, robust_model) for each_line in segment(sheet.grey())]
    boxes = [digit.box for digit in line]
    assert np.abs(np.array(boxes) - np.array(drawn)).max() <= 4


@pytest.mark.parametrize("seed", range(10))
def test_frames_underlines_and_cut_neighbours_are_not_read(robust_model, seed):
    sheet = Sheet(seed, 300, 500)
    sheet.line([(20, 60), (480, 60), (480, 260), (20, 260)], pen=4, closed=True)
    for digit, x in ((4, 130), (7, 260), (0, 390)):
        sheet.digit(digit, x, 150, sheet.random.uniform(90, 110))
    sheet.line([(70, 225), (440, 225)], pen=4)
    sheet.digit(0, 250, -25, 110)
    assert read_text(sheet.grey(), robust_model) == "470"


def test_image_in_the_form_of_mnist_has_one_digit(robust_model, mnist):
    (seven,) = segment(mnist.test.pixels[0].numpy())
    assert [digit.digit for digit in read_line(seven, robust_model)] == [7]


def test_blank_image_is_refused():
    with pytest.raises(BlankImage):
        segment(np.full((200, 300), 230, np.uint8))


def test_too_many_pieces_are_refused(monkeypatch):
    monkeypatch.setattr(segmentation, "MAX_PIECES", 3)
    sheet = Sheet(1, 200, 900)
    for column in range(4):
        sheet.digit(7, 120 + 200 * column, 100, 100)
    with pytest.raises(TooManyDigits, match="more than 3 pieces of ink"):
        segment(sheet.grey())
