"""Metrics of all worker processes: each writes its own file, and any worker can sum them.

The counts of a process that has ended still count. Services may share a state folder, so each has
its own folder there, named after its first process. That process holds a lock as long as it lives.
Folders without a held lock belong to services that ended, and are deleted.
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
    """The metrics of a process, and whether it still runs."""

    alive: bool
    samples: Samples


class WorkerMetricsFile:
    """The metrics file of one process, with access to those of the others."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # A process id may be reused, but the file of the earlier process must stay.
        self.file = folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"

    def write(self, samples: Samples) -> None:
        """Write the metrics so far. Raises OSError."""
        temporary = self.file.with_suffix(".new")
        temporary.write_text(json.dumps(samples))
        temporary.replace(self.file)

    def read_others(self) -> list[Entry]:
        """Return the metrics of the other processes."""
        entries = []
        for file in self.file.parent.glob("*.json"):
            if file != self.file:
                with suppress(FileNotFoundError):  # the service is shutting down
                    alive = _is_alive(int(file.stem.partition("-")[0]))
                    entries.append(Entry(alive, json.loads(file.read_text())))
        return entries


def open_for_worker(folder: Path) -> WorkerMetricsFile | None:
    """Return the metrics file of this worker process, or None if the service has only one.

    Another server than MyNet's may start workers in the same way, but holds no lock and deletes no
    files: its workers share no metrics.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return None
    server_folder = _server_folder(folder, parent.pid or 0)
    return WorkerMetricsFile(server_folder) if server_folder.with_suffix(LOCK).exists() else None


@contextmanager
def worker_metrics_dir(folder: Path) -> Iterator[None]:
    """Provide an empty folder for the metrics of this process's workers."""
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
