"""Requests about data sets, as plain data; their docstrings are those of the clients' methods."""

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx2

from mynet_client.calls import File, Request, answer_of
from mynet_client.dataset_answers import (
    Dataset,
    DatasetImage,
    DatasetImages,
    Datasets,
    DatasetSummary,
)

# Seconds that the service may take to read all images of an upload.
TIMEOUT: Final = httpx2.Timeout(3600.0, connect=10.0)


def upload_dataset(file: File, name: str, *, transposed: bool = False) -> Request[Dataset]:
    """Upload labelled images. A folder with the folders `0` to `9` is sent as a zip.

    `transposed` swaps rows and columns of images that are numbers, as EMNIST's files need it.

    Raises OSError if `file` is a path that cannot be read.
    """
    body = {
        "files": {"file": (name, archive_of(file))},
        "data": {"name": name, "transposed": str(transposed).lower()},
        "timeout": TIMEOUT,
    }
    return Request("POST", "/datasets", answer_of(Dataset), body=body, repeatable=True)


def datasets(*, after: DatasetSummary | str | None = None, limit: int = 100) -> Request[Datasets]:
    """List data sets; `after` is the last one of the previous page."""
    params = {"after": _id(after) if after else None, "limit": limit}
    return Request("GET", "/datasets", answer_of(Datasets), params)


def dataset(dataset: DatasetSummary | str) -> Request[Dataset]:
    """Get a data set by its id or its name."""
    return Request("GET", _path(dataset), answer_of(Dataset))


def dataset_images(
    dataset: DatasetSummary | str,
    *,
    label: int | None = None,
    is_digit: bool | None = None,
    after: DatasetImage | str | None = None,
    limit: int = 100,
) -> Request[DatasetImages]:
    """List images of a data set; `after` is the last image of the previous page.

    `is_digit=False` selects the corrections that show no digit.
    """
    last = after.id if isinstance(after, DatasetImage) else after
    params = {"label": label, "is_digit": is_digit, "after": last, "limit": limit}
    return Request("GET", _path(dataset, "/images"), answer_of(DatasetImages), params)


def delete_dataset(dataset: DatasetSummary | str) -> Request[None]:
    """Delete an uploaded data set that no unfinished job uses."""
    return Request("DELETE", _path(dataset), lambda _: None)


def archive_of(file: File) -> bytes:
    """Return the bytes of a file, or of a zip of a folder."""
    if isinstance(file, bytes):
        return file
    path = Path(file)
    return _zip(path) if path.is_dir() else path.read_bytes()


def _zip(folder: Path) -> bytes:
    """Return all files of a folder as a zip. Links are not followed out of it."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()


def _id(dataset: DatasetSummary | str) -> str:
    return dataset.id if isinstance(dataset, DatasetSummary) else dataset


def _path(dataset: DatasetSummary | str, below: str = "") -> str:
    return f"/datasets/{quote(_id(dataset), safe='')}{below}"
