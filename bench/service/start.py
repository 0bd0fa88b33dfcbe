"""Seconds from `mynet serve` to ready, as a share of `import torch` alone; memory; starts of jobs.

The files are in the disk cache.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.service import job_start
from tests.rigs.load import memory
from tests.service.running import run_service

ROUNDS = 5
MAX_SHARE = 0.5


def import_torch() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - started


def start_to_ready() -> float:
    """Start a service on an empty state folder, and wait until `/health/ready` answers 200."""
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        with run_service(Path(folder) / "var"):
            return time.perf_counter() - started


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    import_torch(), start_to_ready()
    imports, starts = [], []
    for _ in range(ROUNDS):
        imports.append(import_torch())
        starts.append(start_to_ready())
    yield "## Start to ready (`python -m bench start`)"
    yield ""
    yield f"Warm disk, empty state folder, {ROUNDS} rounds, interleaved."
    yield ""
    yield "| | median seconds | round by round |"
    yield "|---|---|---|"
    for label, seconds in (("`python -c 'import torch'`", imports), ("`mynet serve`", starts)):
        per_round = ", ".join(f"{value:.2f}" for value in seconds)
        yield f"| {label} | {median(seconds):.2f} | {per_round} |"
    share = median(start / imported for start, imported in zip(starts, imports, strict=True))
    yield ""
    yield (
        f"**Ready in {share:.2f} × the time of `import torch`**, which it does not import "
        f"(median by round; goal: at most {MAX_SHARE} ×)."
    )
    yield ""
    yield from memory.lines()
    yield ""
    yield from job_start.lines()
