"""Pairs of IDX files in a zip archive, plain or gzipped, as MNIST and EMNIST publish them.

EMNIST's images have their rows and columns swapped; `transposed` swaps them back.
"""

import gzip
import re
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Final, NamedTuple, cast

import numpy as np

from app.dataset_import.formats.items import BLOCK, Item, Limits, from_numbers, rows_of
from app.errors import InvalidField
from app.net import PIXELS, SIDE

NAME: Final = re.compile(r"idx[13]|[.-]ubyte|\.idx", re.IGNORECASE)
ROLE: Final = re.compile(r"images|labels|idx[13]", re.IGNORECASE)
UINT8: Final = b"\0\0\x08"
GZIP: Final = b"\x1f\x8b"
KIND: Final = "image"


class Header(NamedTuple):
    """The sizes in the header of a file of bytes, and the stream of its values."""

    name: str
    sizes: tuple[int, ...]
    stream: IO[bytes]


def is_idx(name: str) -> bool:
    """Return whether a file is called as an IDX file."""
    return NAME.search(PurePosixPath(name).name) is not None


def read(
    archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], limits: Limits
) -> Iterator[Item]:
    """Yield the images of all pairs, in the order of their names.

    Raises InvalidField if a file has no partner or is not valid, BodyTooLarge.
    """
    pairs: dict[str, list[zipfile.ZipInfo]] = {}
    for entry in entries:
        if is_idx(entry.filename):
            pairs.setdefault(ROLE.sub("", entry.filename), []).append(entry)
    first = 1
    for pair in pairs.values():
        headers = [_open(archive, entry) for entry in pair]
        images, labels = _roles(headers)
        count = images.sizes[0]
        limits.check_images(first - 1 + count)
        for start in range(0, count, BLOCK):
            size = min(BLOCK, count - start)
            values = np.frombuffer(_take(images, size * PIXELS), np.uint8)
            numbers = np.frombuffer(_take(labels, size), np.uint8)
            yield from from_numbers(
                KIND, first + start, numbers, rows_of(values), transposed=limits.transposed
            )
        for header in headers:
            if header.stream.read(1):
                raise InvalidField(f"file: {header.name} has more values than its header says.")
        first += count


def _open(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Header:
    stream = archive.open(entry)
    is_gzip = stream.read(2) == GZIP
    stream = archive.open(entry)
    unpacked = cast(IO[bytes], gzip.GzipFile(fileobj=stream)) if is_gzip else stream
    head = unpacked.read(4)
    sizes = np.frombuffer(unpacked.read(4 * head[3]) if len(head) == 4 else b"", ">u4")
    if head[:3] != UINT8 or len(sizes) != head[3]:
        raise InvalidField(f"file: {entry.filename:.200} is not an IDX file of bytes.")
    return Header(entry.filename[:200], tuple(sizes.tolist()), unpacked)


def _roles(headers: list[Header]) -> tuple[Header, Header]:
    """Return the file of images and that of labels. Raises InvalidField."""
    images = [header for header in headers if header.sizes[1:] == (SIDE, SIDE)]
    labels = [header for header in headers if len(header.sizes) == 1]
    names = " and ".join(header.name for header in headers)
    if (len(images), len(labels), len(headers)) != (1, 1, 2):
        raise InvalidField(
            f"file: {names} is no pair of IDX files: send one of 28×28 images and one of labels, "
            "whose names differ in `images-idx3` and `labels-idx1` alone."
        )
    if images[0].sizes[0] != labels[0].sizes[0]:
        raise InvalidField(
            f"file: {names} have {images[0].sizes[0]} images, but {labels[0].sizes[0]} labels."
        )
    return images[0], labels[0]


def _take(header: Header, size: int) -> bytes:
    content = header.stream.read(size)
    if len(content) != size:
        raise InvalidField(f"file: {header.name} has fewer values than its header says.")
    return content
