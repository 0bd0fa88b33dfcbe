"""Numbers as pixels: what is none is refused before numpy makes anything of it."""

import tracemalloc

import numpy as np
import pytest

from app.api.protocols.pixels import numbers, shape_of
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
