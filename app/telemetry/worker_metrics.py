"""What the serving processes of one service leave for one another: a file each.

What enters: what this process counted, under its names. What leaves: the same of the others. What a
process that has ended had counted still counts. This module does not know what the names mean.

Services may share a state folder, so that each has a place of its own in it, named after its first
process, which holds a lock as long as it lives: what is left of services that are gone is told by
their locks, and swept.
"""

import json
import multiprocessing
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from filelock import FileLock, Timeout

Samples = dict[str, list[tuple[str, dict[str, str], float]]]  # by family: name, labels, value
LOCK: Final = ".lock"


class Entry(NamedTuple):
    """What a process counted, and whether it is still there."""

    alive: bool
    samples: Samples


class WorkerMetricsFile:
    """One process's file, and those beside it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # The number of a process that ended may be given again, and its file shall stay.
        self.file = folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"

    def write(self, samples: Samples) -> None:
        """Leave what was counted so far. Raises OSError."""
        temporary = self.file.with_suffix(".new")
        temporary.write_text(json.dumps(samples))
        temporary.replace(self.file)

    def read_others(self) -> list[Entry]:
        """Read what the others left."""
        entries = []
        for file in self.file.parent.glob("*.json"):
            if file != self.file:
                with suppress(FileNotFoundError):  # the service ends
                    alive = _is_alive(int(file.stem.partition("-")[0]))
                    entries.append(Entry(alive, json.loads(file.read_text())))
        return entries


def open_for_worker(folder: Path) -> WorkerMetricsFile | None:
    """Return the ledger of this process, or None where it serves alone."""
    parent = multiprocessing.parent_process()
    return WorkerMetricsFile(_server_folder(folder, parent.pid or 0)) if parent else None


@contextmanager
def worker_metrics_dir(folder: Path) -> Iterator[None]:
    """Keep a place for the workers of this process, which is empty at first."""
    server_folder = _server_folder(folder, os.getpid())
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        _clean_up(folder)
        lock = FileLock(server_folder.with_suffix(LOCK))
        lock.acquire(timeout=0)
    try:
        yield
    finally:
        _remove(server_folder)
        lock.release()


def _server_folder(folder: Path, server: int) -> Path:
    return folder / f"{socket.gethostname().replace('.', '-')}-{server}"


def _clean_up(folder: Path) -> None:
    for path in folder.glob(f"[!.]*{LOCK}"):
        with suppress(Timeout), FileLock(path, timeout=0):
            _remove(path.with_suffix(""))


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_suffix(LOCK).unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
