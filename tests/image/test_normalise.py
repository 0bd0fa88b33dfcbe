"""What people upload, each kind by one drawn digit; MNIST itself passes bit for bit."""

import gzip
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.errors import BlankImage
from app.image.normalise import Normalised, normalise

RAW = Path(__file__).parents[2] / "data" / "MNIST" / "raw"


def five(side: int = 300, width: int = 24) -> np.ndarray:
    """Ink from 0 to 1 of a drawn 5, in the middle half of the image."""
    drawn = np.zeros((side, side), np.uint8)
    bar = np.array([(0.64, 0.25), (0.40, 0.25), (0.38, 0.46)]) * side
    cv2.polylines(drawn, [bar.astype(np.int32)], False, 255, width, cv2.LINE_AA)
    bowl = int(0.50 * side), int(0.58 * side)
    axes = int(0.14 * side), int(0.15 * side)
    cv2.ellipse(drawn, bowl, axes, 0, -130, 140, 255, width, cv2.LINE_AA)
    return drawn / 255


def paint(ink: np.ndarray, tone: float = 30, paper: float | np.ndarray = 230) -> np.ndarray:
    return np.clip(paper * (1 - ink) + tone * ink, 0, 255).astype(np.uint8)


def assert_mnist_form(result: Normalised) -> None:
    pixels = result.pixels
    assert pixels.shape == (28, 28)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    _, _, width, height = cv2.boundingRect((pixels > 60).astype(np.uint8))
    assert 18 <= max(width, height) <= 20
    assert pixels.max() > 200
    moments = cv2.moments(pixels)
    assert moments["m10"] / moments["m00"] == pytest.approx(14, abs=0.6)
    assert moments["m01"] / moments["m00"] == pytest.approx(14, abs=0.6)


def assert_five(result: Normalised, inverted: bool = True) -> None:
    """The same digit as from a spotless drawing, a pixel's shift allowed for."""
    assert_mnist_form(result)
    assert result.inverted is inverted
    expected = normalise(paint(five())).pixels.astype(np.float32)
    padded = cv2.copyMakeBorder(result.pixels, 2, 2, 2, 2, cv2.BORDER_CONSTANT).astype(np.float32)
    assert cv2.matchTemplate(padded, expected, cv2.TM_CCOEFF_NORMED).max() > 0.8


def read_mnist(count: int) -> np.ndarray:
    with gzip.open(RAW / "t10k-images-idx3-ubyte.gz") as file:
        raw = file.read(16 + count * 784)
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)


def test_mnist_passes_bit_for_bit_in_both_polarities() -> None:
    for digit in read_mnist(200):
        plain, negative = normalise(digit), normalise(255 - digit)
        np.testing.assert_array_equal(plain.pixels, digit)
        np.testing.assert_array_equal(negative.pixels, digit)
        assert (plain.inverted, negative.inverted) == (False, True)
        assert plain.shift == (0.0, 0.0)


def test_the_answer_is_no_view_of_the_upload() -> None:
    digit = read_mnist(1)[0].copy()
    assert not np.shares_memory(normalise(digit).pixels, digit)


@pytest.mark.parametrize("side", [64, 150, 300, 700, 1400])
@pytest.mark.parametrize("dark", [True, False])
def test_both_polarities_at_any_size(side: int, dark: bool) -> None:
    grey = paint(five(side, max(2, side // 12)))
    assert_five(normalise(grey if dark else 255 - grey), inverted=dark)


@pytest.mark.parametrize("side", [8, 16, 28, 40])
@pytest.mark.parametrize("dark", [True, False])
def test_small_bitmaps(side: int, dark: bool) -> None:
    tight = five()[60:240, 80:220]
    grey = cv2.resize(paint(tight), (side, side), interpolation=cv2.INTER_AREA)
    result = normalise(grey if dark else 255 - grey)
    assert_mnist_form(result)
    assert result.inverted is dark


def test_the_box_is_in_pixels_of_the_upload() -> None:
    ink = np.zeros((1200, 900))
    ink[400:800, 300:420] = 1
    assert normalise(paint(ink)).box == pytest.approx((300, 400, 420, 800), abs=8)


def test_the_shift_brings_the_mass_to_the_middle() -> None:
    ink = np.zeros((200, 200))
    ink[50:150, 60:80] = 1
    ink[130:150, 60:140] = 1
    x, y = normalise(paint(ink)).shift
    assert x > 0 > y


def test_uneven_light_and_a_shadow() -> None:
    y, x = np.mgrid[0:300, 0:300] / 300
    light = (1 - 0.4 * x) * (1 - 0.35 / (1 + np.exp((y - 0.5) * 30)))
    noise = np.random.default_rng(0).normal(0, 4, light.shape)
    assert_five(normalise(paint(five(), 30 * light, 240 * light + noise)))


@pytest.mark.parametrize(("inset", "width"), [(0, 3), (6, 2), (12, 5)])
@pytest.mark.parametrize("dark", [True, False])
def test_a_frame_is_no_ink(inset: int, width: int, dark: bool) -> None:
    grey = paint(five())
    cv2.rectangle(grey, (inset, inset), (299 - inset, 299 - inset), 30, width)
    assert_five(normalise(grey if dark else 255 - grey), inverted=dark)


@pytest.mark.parametrize("width", [1, 2, 3, 40])
def test_hairlines_and_markers_get_the_stroke_width_of_mnist(width: int) -> None:
    result = normalise(paint(five(300, width), 0, 255))
    assert_mnist_form(result)
    assert 50 < np.count_nonzero(result.pixels > 127) < 230


@pytest.mark.parametrize("margins", [(0, 0, 0, 0), (0, 40, 40, 40), (40, 0, 40, 0)])
@pytest.mark.parametrize("dark", [True, False])
def test_tight_crops(margins: tuple[int, int, int, int], dark: bool) -> None:
    x, y, width, height = cv2.boundingRect((five() > 0.5).astype(np.uint8))
    left, top, right, bottom = margins
    ink = five()[y - top : y + height + bottom, x - left : x + width + right]
    grey = paint(ink)
    assert_five(normalise(grey if dark else 255 - grey), inverted=dark)


def test_specks_are_no_ink() -> None:
    grey = paint(five())
    for x, y in np.random.default_rng(0).integers(0, 300, (15, 2)):
        cv2.circle(grey, (int(x), int(y)), 1, 30, -1)
    assert_five(normalise(grey))


@pytest.mark.parametrize("squared", [False, True])
def test_lines_of_paper_are_no_ink(squared: bool) -> None:
    paper = np.full((300, 300), 230.0)
    paper[15::40] = 170
    if squared:
        paper[:, 22::40] = 170
    assert_five(normalise(paint(five(), 30, paper)))


def test_all_pieces_of_a_digit_are_kept() -> None:
    ink = five()
    ink[:, 140:150] = 0
    ink[150:158] = 0
    assert_five(normalise(paint(ink)))


def test_a_sheet_on_a_dark_desk() -> None:
    grey = np.full((420, 420), 60, np.uint8)
    grey[60:360, 60:360] = paint(five())
    assert_five(normalise(grey))


@pytest.mark.parametrize("tone", [0, 128, 255])
@pytest.mark.parametrize("shape", [(28, 28), (300, 200), (1, 1), (1, 50)])
def test_a_uniform_image_is_refused(tone: int, shape: tuple[int, int]) -> None:
    with pytest.raises(BlankImage, match="stands out"):
        normalise(np.full(shape, tone, np.uint8))


@pytest.mark.parametrize("side", [28, 100, 400])
@pytest.mark.parametrize("strength", [2, 10, 40])
def test_noise_is_refused(side: int, strength: int) -> None:
    noise = np.random.default_rng(side).normal(150, strength, (side, side))
    with pytest.raises(BlankImage):
        normalise(np.clip(noise, 0, 255).astype(np.uint8))


def test_empty_paper_in_uneven_light_is_refused() -> None:
    noise = np.random.default_rng(0).normal(0, 3, (400, 400))
    light = np.linspace(140, 230, 400) + noise
    with pytest.raises(BlankImage):
        normalise(light.astype(np.uint8))


def test_the_upload_is_left_as_it_was() -> None:
    grey = paint(five())
    original = grey.copy()
    normalise(grey)
    np.testing.assert_array_equal(grey, original)
