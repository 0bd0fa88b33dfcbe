"""NumPy's `.npz`: the arrays `images` and `labels`. Pickled objects are refused, not loaded."""

import zipfile
from collections.abc import Iterator
from typing import IO, Any, Final, NamedTuple

import numpy as np
from numpy.lib import format as npy

from app.dataset_import.formats.items import BLOCK, Item, Limits, from_numbers, rows_of
from app.errors import InvalidField
from app.net import PIXELS, SIDE

SUFFIX: Final = ".npy"
IMAGES: Final = "images"
LABELS: Final = "labels"
SHAPES: Final = ((SIDE, SIDE), (PIXELS,), (1, SIDE, SIDE), (SIDE, SIDE, 1))
KINDS: Final = "uif"  # whole numbers and floats
KIND: Final = "image"
MAX_HEADER: Final = 10_000


class Header(NamedTuple):
    """The header of an array, and the stream of its values."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: IO[bytes]


def is_npz(entries: list[zipfile.ZipInfo]) -> bool:
    """Return whether an archive holds nothing but arrays."""
    return bool(entries) and all(entry.filename.endswith(SUFFIX) for entry in entries)


def read(
    archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], limits: Limits
) -> Iterator[Item]:
    """Yield the images. Raises InvalidField, BodyTooLarge."""
    by_name = {entry.filename.removesuffix(SUFFIX): entry for entry in entries}
    if not {IMAGES, LABELS} <= by_name.keys():
        raise InvalidField(
            f"file: the .npz file has the arrays {', '.join(sorted(by_name)):.200}. "
            f"Send `{IMAGES}` and `{LABELS}`: np.savez_compressed(path, images=…, labels=…)."
        )
    images, labels = (_open(archive, by_name[name], name) for name in (IMAGES, LABELS))
    _check(images, labels)
    count = images.shape[0]
    limits.check_images(count)
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        values = rows_of(_take(images, size * PIXELS))
        numbers = _take(labels, size)
        if labels.dtype.kind == "f":  # a label of 3.5 is no digit
            numbers = np.where(numbers % 1 == 0, numbers, -1)
        yield from from_numbers(KIND, start + 1, numbers, values, transposed=limits.transposed)


def _open(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> Header:
    """Return the header of an array. Raises InvalidField."""
    stream = archive.open(entry)
    try:
        read_header = {
            (1, 0): npy.read_array_header_1_0,
            (2, 0): npy.read_array_header_2_0,
        }[npy.read_magic(stream)]
        shape, is_fortran, dtype = read_header(stream, max_header_size=MAX_HEADER)
    except Exception as error:  # any: NumPy parses the header as Python, and again if that fails
        raise InvalidField(f"file: `{name}` is not an array of NumPy: {error!s:.200}.") from error
    if dtype.hasobject:
        raise InvalidField(f"file: `{name}` holds Python objects, which are not loaded.")
    if dtype.kind not in KINDS:
        raise InvalidField(f"file: `{name}` has the type {dtype!s:.40}; send numbers.")
    if is_fortran and len(shape) > 1:
        raise InvalidField(f"file: `{name}` is in Fortran order; use np.ascontiguousarray.")
    return Header(name, tuple(shape), dtype, stream)


def _check(images: Header, labels: Header) -> None:
    if images.shape[1:] not in SHAPES:
        raise InvalidField(
            f"file: `{IMAGES}` has the shape {images.shape!s:.80}; send (N, {SIDE}, {SIDE}) or "
            f"(N, {PIXELS})."
        )
    if labels.shape != images.shape[:1]:
        raise InvalidField(
            f"file: `{LABELS}` has the shape {labels.shape!s:.80}; send one label an image: "
            f"({images.shape[0]},)."
        )


def _take(header: Header, values: int) -> np.ndarray[Any, Any]:
    """Return the next values of an array. Raises InvalidField if it is too short."""
    content = header.stream.read(values * header.dtype.itemsize)
    if len(content) != values * header.dtype.itemsize:
        raise InvalidField(f"file: `{header.name}` has fewer values than its header says.")
    return np.frombuffer(content, header.dtype)
