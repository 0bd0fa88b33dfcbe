"""CSV of 785 columns as Kaggle's `train.csv`: the label, then 784 pixels; a header is optional."""

import warnings
from collections.abc import Iterator
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from app.dataset_import.formats.items import BLOCK, Item, Limits, Rejection, from_numbers
from app.errors import InvalidField
from app.net import PIXELS

COLUMNS: Final = 1 + PIXELS
MAX_LINE_BYTES: Final = 16 * 1024
BOM: Final = b"\xef\xbb\xbf"
KIND: Final = "row"


def read(file: IO[bytes], limits: Limits) -> Iterator[Item]:
    """Yield the images. Rows count from 1, without the header.

    Raises InvalidField, BodyTooLarge.
    """
    start = 1
    for block in _blocks(_lines(file), limits):
        rows, good = _parse_block(block)
        for index in np.flatnonzero(~good).tolist():
            yield Rejection(f"{KIND} {start + index}", "invalid_row")
        yield from _images(rows, good, start, transposed=limits.transposed)
        start += len(block)


def _parse_block(block: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the numbers of lines, (B, 785), and which of them are valid, (B,).

    Usually all are, and are parsed together, which takes half the time.
    """
    good = np.ones(len(block), np.bool_)
    if all(line.count(b",") == PIXELS for line in block):
        rows = _parse(b",".join(block), len(block) * COLUMNS)
        if rows is not None:
            return rows.reshape(-1, COLUMNS), good
    rows = np.zeros((len(block), COLUMNS), np.int64)
    for index, line in enumerate(block):
        row = _parse(line)
        good[index] = row is not None
        rows[index] = 0 if row is None else row
    return rows, good


def _images(
    rows: NDArray[np.int64], good: NDArray[np.bool_], start: int, *, transposed: bool
) -> Iterator[Item]:
    """Yield the images of the good rows, in runs, so that each has its number."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], good, [False])).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2).tolist():
        labels, values = rows[begin:end, 0], rows[begin:end, 1:]
        yield from from_numbers(KIND, start + begin, labels, values, transposed=transposed)


def _blocks(lines: Iterator[bytes], limits: Limits) -> Iterator[list[bytes]]:
    block: list[bytes] = []
    for number, line in enumerate(lines, 1):
        limits.check_images(number)
        block.append(line)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines that are not empty, without the header. Raises InvalidField."""
    is_first = True
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise InvalidField(
                f"file: a line of the CSV file has more than {MAX_LINE_BYTES} bytes. Send "
                f"{COLUMNS} columns: the label and {PIXELS} pixels."
            )
        line = line.removeprefix(BOM).strip() if is_first else line.strip()
        if is_first and line:
            is_first = False
            _check_columns(line)
            if _parse(line) is None:
                continue
        if line:
            yield line


def _check_columns(line: bytes) -> None:
    columns = line.count(b",") + 1
    if columns != COLUMNS:
        raise InvalidField(
            f"file: the first line of the CSV file has {columns} columns instead of {COLUMNS}: the "
            f"label, then {PIXELS} pixels, row by row, separated by commas."
        )


def _parse(line: bytes, count: int = COLUMNS) -> NDArray[np.int64] | None:
    """Return the numbers in a text, or None if they are not so many whole numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            row = np.fromstring(line.decode("ascii"), np.int64, sep=",")
        except (DeprecationWarning, ValueError):  # also UnicodeDecodeError
            return None
    return row if len(row) == count else None
