"""A record of what is made, renamed and synced on disk, in order."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock


@contextmanager
def record_calls() -> Iterator[list[tuple[str, Path]]]:
    """Record each `mkdir`, `replace` and `fsync`, with the path that it was really for."""
    calls: list[tuple[str, Path]] = []
    mkdir, replace, fsync = os.mkdir, os.replace, os.fsync

    def recording_mkdir(path, *args, **kwargs):
        mkdir(path, *args, **kwargs)
        calls.append(("mkdir", Path(path).resolve()))

    def recording_replace(source, target):
        replace(source, target)
        calls.append(("replace", Path(target).resolve()))

    def recording_fsync(descriptor):
        fsync(descriptor)
        calls.append(("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}"))))

    with (
        mock.patch("os.mkdir", recording_mkdir),
        mock.patch("os.replace", recording_replace),
        mock.patch("os.fsync", recording_fsync),
    ):
        yield calls


def assert_durable_folders(calls: list[tuple[str, Path]], *folders: Path) -> None:
    """Check that these folders, and no others, were made, and each parent synced afterwards."""
    created = [path for name, path in calls if name == "mkdir"]
    assert sorted(created) == sorted(folder.resolve() for folder in folders)
    for folder in created:
        later_calls = calls[calls.index(("mkdir", folder)) :]
        assert ("fsync", folder.parent) in later_calls, f"{folder.parent} is not synced"


def assert_durable_file(calls: list[tuple[str, Path]], path: Path) -> None:
    """Check that a file was synced under a temporary name, renamed, and its folder synced."""
    path = path.resolve()
    position = calls.index(("replace", path))
    target = [synced for name, synced in calls[:position] if name == "fsync"]
    assert any(temporary.name.startswith(f".{path.name}.") for temporary in target)
    assert ("fsync", path.parent) in calls[position:]
