"""Zip archives of strangers: checked as a whole before anything is inflated, then file by file."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from stat import S_ISLNK
from typing import IO, Final

from app.dataset_import.formats import idx, npz
from app.dataset_import.formats.items import Item, Limits, Picture, Rejection
from app.errors import BodyTooLarge, InvalidField
from app.net import DIGITS

ENCRYPTED: Final = 0x1  # a flag of an entry
# Others may need much memory or time to inflate.
COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ARCHIVES: Final = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar")
# What systems add to a folder by themselves.
IGNORED: Final = ("__MACOSX", "Thumbs.db", "desktop.ini")
LABELS: Final = tuple(map(str, range(DIGITS)))
MAX_NAME: Final = 200
DAMAGED: Final = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError),
    *(LookupError, NotImplementedError, RuntimeError),
)


def read(file: IO[bytes], limits: Limits) -> Iterator[Item]:
    """Yield the images of a zip archive: folders `0` to `9`, IDX pairs, or NumPy arrays.

    Raises BodyTooLarge, InvalidField, and errors of `zipfile` for a damaged archive.
    """
    with zipfile.ZipFile(file) as archive:
        entries = [entry for entry in archive.infolist() if not _is_ignored(entry)]
        total = sum(entry.file_size for entry in entries)
        if total > limits.max_unpacked_bytes:
            raise BodyTooLarge(
                f"The files of the archive would take {total} bytes. The limit is "
                f"{limits.max_unpacked_bytes}, four times MYNET_MAX_DATASET_BYTES. Send less."
            )
        entries.sort(key=lambda entry: entry.filename)
        if npz.is_npz(entries):
            yield from npz.read(archive, [*_readable(entries)], limits)
        elif any(idx.is_idx(entry.filename) for entry in entries):
            yield from idx.read(archive, [*_readable(entries)], limits)
        else:
            yield from _read_folders(archive, entries, limits)


def _readable(entries: list[zipfile.ZipInfo]) -> Iterator[zipfile.ZipInfo]:
    """Yield the entries. Raises InvalidField for one that must not be read."""
    for entry in entries:
        if code := _problem(entry):
            raise InvalidField(f"file: {_printable(entry.filename)} cannot be read: {code}.")
        yield entry


def _read_folders(
    archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], limits: Limits
) -> Iterator[Item]:
    codes = [_problem(entry) or _folder_problem(entry, limits) for entry in entries]
    limits.check_images(codes.count(None))
    for entry, code in zip(entries, codes, strict=True):
        name = _printable(entry.filename)
        if code:
            yield Rejection(name, code)
            continue
        try:
            content = archive.read(entry)
        except DAMAGED:
            yield Rejection(name, "damaged")
        else:
            yield Picture(name, int(_path(entry).parent.name), content)


def _problem(entry: zipfile.ZipInfo) -> str | None:
    """Return why an entry must not be read, or None."""
    path = _path(entry)
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "unsafe_path"
    if S_ISLNK(entry.external_attr >> 16):
        return "symbolic_link"
    if entry.flag_bits & ENCRYPTED:
        return "encrypted"
    return None if entry.compress_type in COMPRESSIONS else "unsupported_compression"


def _folder_problem(entry: zipfile.ZipInfo, limits: Limits) -> str | None:
    """Return why a file in folders is no labelled image, or None."""
    path = _path(entry)
    if path.suffix.lower() in ARCHIVES:
        return "nested_archive"
    if path.parent.name not in LABELS:
        return "invalid_label"
    return BodyTooLarge.code if entry.file_size > limits.max_file_bytes else None


def _is_ignored(entry: zipfile.ZipInfo) -> bool:
    parts = _path(entry).parts
    is_hidden = any(part.startswith(".") and part != ".." for part in parts)
    return not parts or entry.is_dir() or is_hidden or any(part in IGNORED for part in parts)


def _path(entry: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename.replace("\\", "/"))  # as some Windows programs write it


def _printable(name: str) -> str:
    if not name.isprintable():
        name = name.encode("ascii", "backslashreplace").decode("ascii")
    return name[:MAX_NAME]
