"""Soft edges and middling contrast: whatever the size, a digit reads as it does in MNIST itself."""

import cv2
import numpy as np
import pytest

from app.errors import BlankImage
from app.image.normalise import normalise
from tests.image.test_normalise import assert_five, five, paint, read_mnist

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


def assert_same_digit(pixels: np.ndarray, digit: np.ndarray) -> None:
    """Alike, a pixel's shift and another stroke width allowed for."""
    padded = cv2.copyMakeBorder(pixels, 2, 2, 2, 2, cv2.BORDER_CONSTANT).astype(np.float32)
    alike = cv2.matchTemplate(padded, digit.astype(np.float32), cv2.TM_CCOEFF_NORMED)
    assert alike.max() > 0.8


@pytest.mark.parametrize("side", [56, 280, 448, 512, 784, 1000])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("contrast", [60, 255])
def test_enlarged_digits(side: int, interpolation: str, contrast: int) -> None:
    for digit in read_mnist(6):
        large = cv2.resize(digit, (side, side), interpolation=INTERPOLATIONS[interpolation])
        grey = (255 - large * (contrast / 255)).astype(np.uint8)
        assert_same_digit(normalise(grey).pixels, digit)


@pytest.mark.parametrize("sigma", [4, 8, 12])
@pytest.mark.parametrize("dark", [True, False])
def test_strokes_out_of_focus(sigma: int, dark: bool) -> None:
    grey = paint(cv2.GaussianBlur(five(400, 20), (0, 0), sigma))
    assert_five(normalise(grey if dark else 255 - grey), inverted=dark)


@pytest.mark.parametrize("contrast", [30, 60, 80, 100, 120, 140, 180, 220])
@pytest.mark.parametrize("paper", [255, 240])
@pytest.mark.parametrize("dark", [True, False])
def test_faint_digits_of_mnist_size_get_full_contrast(
    contrast: int, paper: int, dark: bool
) -> None:
    for digit in read_mnist(6):
        grey = np.rint(paper - digit * (contrast / 255)).astype(np.uint8)
        result = normalise(grey if dark else 255 - grey)
        assert result.inverted is dark
        assert result.pixels.max() > 240
        assert np.median(result.pixels) == 0
        assert_same_digit(result.pixels, digit)


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_jpeg_stays_in_the_form_of_mnist(quality: int) -> None:
    for digit in read_mnist(20):
        data = cv2.imencode(".jpg", digit, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        grey = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
        assert_same_digit(normalise(grey).pixels, digit)


@pytest.mark.parametrize("seed", range(8))
def test_a_shadow_on_blank_paper_is_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:300, 0:400] / 400
    angle = rng.uniform(0, 2 * np.pi)
    distance = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.375)
    shadow = rng.uniform(0.2, 0.45) / (1 + np.exp(-distance / rng.uniform(0.02, 0.1)))
    light = rng.uniform(150, 245) * (1 - shadow) * (1 + 0.2 * (x - 0.5))
    grey = cv2.GaussianBlur(light + rng.normal(0, 6, light.shape), (0, 0), 1)
    with pytest.raises(BlankImage):
        normalise(np.clip(grey, 0, 255).astype(np.uint8))
