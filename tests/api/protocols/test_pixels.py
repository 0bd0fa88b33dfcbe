"""Numbers as pixels: what is none is refused before numpy makes anything of it."""

import tracemalloc

import numpy as np
import pytest

from app.api.protocols.pixels import from_unit, numbers, shape_of, to_uint8
from app.errors import MalformedRequest

DEEP = [0] * 784
for _ in range(100):  # numpy has 64 dimensions
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("data", "shape", "read"),
    [
        ([1, 2.5, True], [3], [1, 2.5, 1]),
        ([[1, 2], [3, 4]], [2, 2], [1, 2, 3, 4]),
        ([[[1], [2]]], [1, 2, 1], [1, 2]),
        (DEEP, [1] * 100 + [784], [0] * 784),
    ],
)
def test_numbers_are_read_one_row_after_another(data, shape, read):
    assert shape_of(data) == shape
    assert numbers(data).tolist() == read


@pytest.mark.parametrize(
    "data",
    [
        ["1"], [None], [{}], [True], [[1], 2], [1, [2]], [[1], [2, 3]], [[1, 2], [3]],
        [[[1], [2]], [[3]]], [10**400], [10**400, 0.5],
    ],
)  # fmt: skip
def test_what_are_no_numbers_in_rows_of_one_length_is_refused(data):
    with pytest.raises(MalformedRequest, match="numbers, in rows of equal length"):
        numbers(data)


@pytest.mark.parametrize("long", ["x" * 10**5, 10**4000], ids=["text", "number"])
@pytest.mark.parametrize("others", [[""] * 783, [0] * 783])
def test_one_long_element_takes_no_memory_for_each_of_the_others(long, others):
    rows = np.array([0] * 784).nbytes
    for data in ([long, *others], [[long], *([element] for element in others)]):
        tracemalloc.start()
        with pytest.raises(MalformedRequest):
            numbers(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * rows


def drawn_digits(mnist, rng):
    """Ten images of digits, (10, 28, 28) from 0 to 255."""
    return mnist.test.pixels[rng.choice(1000, 10, replace=False)].numpy()


WRONG_RANGES = {
    "mask": (lambda pixels: (pixels > 100).astype(int), "from 0 to 1.", "multiply them by 255"),
    "float mask": (lambda pixels: (pixels > 100).astype(float), "from 0 to 1.", "a mask"),
    "divided": (lambda pixels: pixels / 255, "from 0 to 1.", "multiply them by 255"),
    "divided by 256": (lambda pixels: pixels / 256, "from 0 to 0.99", "multiply them by 255"),
    "divided twice": (lambda pixels: pixels / 255**2, "from 0 to 0.0039", "divided by 255 twice"),
    "centred": (lambda pixels: pixels / 255 - 0.5, "from -0.5 to 0.5", "standardised"),
    "standardised": (lambda pixels: (pixels / 255 - 0.1307) / 0.3081, "from -0.42", "before"),
    "signed": (lambda pixels: pixels.astype(int) - 128, "from -128 to 127", "standardised"),
    "16 bits": (lambda pixels: pixels.astype(int) * 257, "from 0 to 65535", "to 255 (ink)"),
    "not a number": (lambda pixels: np.where(pixels > 0, pixels, np.nan), "nan", "to 255 (ink)"),
}


@pytest.mark.parametrize(("convert", "found", "advice"), WRONG_RANGES.values(), ids=WRONG_RANGES)
def test_pixels_of_another_range_are_refused_with_both_ranges(mnist, convert, found, advice):
    digits = drawn_digits(mnist, np.random.default_rng(1))
    digits[:, 0, 0] = 255
    for pixels in digits:
        with pytest.raises(MalformedRequest) as refusal:
            to_uint8(convert(pixels), "instances.3")
        assert refusal.value.detail.startswith("instances.3 has pixels from ")
        for words in (found, "whole numbers from 0 (background) to 255 (ink)", advice):
            assert words in refusal.value.detail


def test_unit_pixels_of_another_range_are_refused_with_both_ranges(mnist):
    for pixels in drawn_digits(mnist, np.random.default_rng(2)):
        for values, words in (
            (pixels / 255**2, "twice"),
            ((pixels / 255**2).astype(np.float32), "twice"),
            (pixels.astype(np.float32), "from 0 to 25"),
            (pixels / 255 - 0.5, "from -0.5 to"),
        ):
            with pytest.raises(MalformedRequest, match=words) as refusal:
                from_unit(values)
            assert "FP32 numbers from 0 (background) to 1 (ink)" in refusal.value.detail


def test_refusal_of_a_batch_names_the_image(mnist):
    digits = drawn_digits(mnist, np.random.default_rng(3))
    digits[7] = digits[7] > 100
    with pytest.raises(MalformedRequest, match="Image 7 has pixels from 0 to 1"):
        to_uint8(digits)
    unit = np.where(np.arange(10).reshape(-1, 1, 1) == 4, digits / 255**2, digits / 255)
    with pytest.raises(MalformedRequest, match="Image 4 has pixels"):
        from_unit(unit)


def test_pixels_of_the_right_range_are_unchanged(mnist):
    digits = drawn_digits(mnist, np.random.default_rng(4))
    for values in (digits, digits.astype(int), digits.astype(float), digits // 16):
        assert np.array_equal(to_uint8(values), values)
    for dtype in (np.float32, np.float64):
        assert np.array_equal(from_unit((digits / 255).astype(dtype)), digits)
