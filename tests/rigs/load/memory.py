"""Resident memory of a worker process, when it is ready and after load (Linux only)."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from bench.harness.wrk import verify
from tests.rigs.load.closed_loop import press_all
from tests.rigs.load.uploads import requests
from tests.service.running import run_service

ROUNDS: Final = 3
PREDICTIONS: Final = 2000
CONNECTIONS: Final = 64
MAX_MB: Final = 140


class Round(NamedTuple):
    """Resident megabytes."""

    ready: float
    pressed: float


def lines() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    if not _status("self").exists():
        yield "Resident memory: not measured, since only Linux tells that of another process."
        return
    rounds = list(measure())
    yield f"Resident memory (VmRSS), one worker, {ROUNDS} rounds."
    yield ""
    yield "| | median MB | round by round |"
    yield "|---|---|---|"
    labels = "ready", f"after {PREDICTIONS:,} predictions"
    for label, column in zip(labels, zip(*rounds, strict=True), strict=True):
        per_round = ", ".join(f"{value:.0f}" for value in column)
        yield f"| {label} | {median(column):.0f} | {per_round} |"
    yield ""
    ready, pressed = map(median, zip(*rounds, strict=True))
    yield (
        f"**{ready:.0f} MB when ready, {pressed:.0f} MB after {PREDICTIONS:,} predictions** at "
        f"{CONNECTIONS} connections (goal: at most {MAX_MB} MB)."
    )


def measure() -> Iterator[Round]:
    """With one worker, the process that was started is the one that serves."""
    images = requests()
    images *= PREDICTIONS // len(images)
    for _ in range(ROUNDS):
        with TemporaryDirectory() as folder, run_service(Path(folder) / "var") as service:
            ready = resident(service.process.pid)
            pressed = verify(press_all(service.port, images, CONNECTIONS))
            if pressed.lost:
                raise RuntimeError(f"{pressed.lost} predictions were not answered")
            yield Round(ready, resident(service.process.pid))


def resident(pid: int) -> float:
    """Return the megabytes, of a million bytes each, that a process has in memory."""
    rows = dict(line.split(":", 1) for line in _status(pid).read_text().splitlines())
    return int(rows["VmRSS"].split()[0]) * 1024 / 1e6


def _status(pid: int | str) -> Path:
    return Path(f"/proc/{pid}/status")
