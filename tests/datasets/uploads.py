"""Uploads for tests: the same images as a zip of folders, IDX files, NumPy arrays, and CSV."""

import gzip
import struct
import zipfile
from collections.abc import Iterable
from io import BytesIO

import numpy as np

from tests.conftest import png


def zip_of(files: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def folders(pixels, labels, root="digits/") -> bytes:
    images = enumerate(zip(pixels, labels, strict=True))
    return zip_of((f"{root}{label}/{n:04}.png", png(image)) for n, (image, label) in images)


def idx(array) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array, np.uint8).tobytes()


def idx_zip(pixels, labels, *, packed=True) -> bytes:
    pack, suffix = (gzip.compress, ".gz") if packed else (bytes, "")
    files = (("images-idx3", pixels), ("labels-idx1", labels))
    return zip_of((f"x-{name}-ubyte{suffix}", pack(idx(array))) for name, array in files)


def npz(**arrays) -> bytes:
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def csv(pixels, labels, header=True) -> bytes:
    head = ["label," + ",".join(f"pixel{n}" for n in range(784))] if header else []
    rows = (
        ",".join(map(str, [label, *image.reshape(-1)]))
        for image, label in zip(pixels, labels, strict=True)
    )
    return "\n".join([*head, *rows, ""]).encode()
