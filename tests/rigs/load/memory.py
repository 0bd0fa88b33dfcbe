"""Resident memory of a worker process, compared with `import torch` alone (Linux only)."""

import subprocess
import sys
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
MAX_EXTRA_MB: Final = 90
IMPORT: Final = (sys.executable, "-c", "import torch; print(flush=True); input()")


class Round(NamedTuple):
    """Resident megabytes."""

    torch: float
    ready: float
    pressed: float


def lines() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    if not _status("self").exists():
        yield "Resident memory: not measured, since only Linux tells that of another process."
        return
    rounds = list(measure())
    yield f"Resident memory (VmRSS), one worker, {ROUNDS} rounds, interleaved."
    yield ""
    yield "| | median MB | above `import torch` | round by round |"
    yield "|---|---|---|---|"
    labels = "`python -c 'import torch'`", "ready", f"after {PREDICTIONS:,} predictions"
    bases = [sample.torch for sample in rounds]
    for label, column in zip(labels, zip(*rounds, strict=True), strict=True):
        increases = [value - base for value, base in zip(column, bases, strict=True)]
        per_round = ", ".join(f"{value:.0f}" for value in column)
        yield f"| {label} | {median(column):.0f} | {median(increases):.0f} | {per_round} |"
    yield ""
    yield (
        f"**{median(increases):.0f} MB more than `import torch`** after {PREDICTIONS:,} "
        "predictions at "
        f"{CONNECTIONS} connections (goal: at most {MAX_EXTRA_MB} MB)."
    )


def measure() -> Iterator[Round]:
    """With one worker, the process that was started is the one that serves."""
    images = requests()
    images *= PREDICTIONS // len(images)
    for _ in range(ROUNDS):
        baseline = importing_torch()
        with TemporaryDirectory() as folder, run_service(Path(folder) / "var") as service:
            ready = resident(service.process.pid)
            pressed = verify(press_all(service.port, images, CONNECTIONS))
            if pressed.lost:
                raise RuntimeError(f"{pressed.lost} predictions were not answered")
            yield Round(baseline, ready, resident(service.process.pid))


def importing_torch() -> float:
    pipe = subprocess.PIPE
    with subprocess.Popen(IMPORT, stdin=pipe, stdout=pipe, text=True) as process:
        process.stdout.readline()
        megabytes = resident(process.pid)
        process.communicate("\n")
    return megabytes


def resident(pid: int) -> float:
    """Return the megabytes, of a million bytes each, that a process has in memory."""
    rows = dict(line.split(":", 1) for line in _status(pid).read_text().splitlines())
    return int(rows["VmRSS"].split()[0]) * 1024 / 1e6


def _status(pid: int | str) -> Path:
    return Path(f"/proc/{pid}/status")
