"""Seconds from `mynet serve` to ready, and resident memory, compared with `import torch` alone.

The files are in the disk cache.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.rigs.load import memory

ROUNDS = 5
MYNET = Path(sys.executable).with_name("mynet")


def import_torch() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - started


def start_to_ready() -> float:
    """Start a service on an empty state folder, and wait for the line that says that it listens."""
    with TemporaryDirectory() as state:
        environment = {**os.environ, "MYNET_PORT": "0", "MYNET_STATE_DIR": state}
        started = time.perf_counter()
        with subprocess.Popen(
            [MYNET, "serve"], env=environment, stderr=subprocess.PIPE, text=True
        ) as service:
            for line in service.stderr or ():
                if "running on http" in line:
                    break
            else:
                raise RuntimeError("the service did not start")
            seconds = time.perf_counter() - started
            service.terminate()
    return seconds


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
    yield "| | median seconds | share |"
    yield "|---|---|---|"
    share = median(a / b for a, b in zip(imports, starts, strict=True))
    yield f"| `python -c 'import torch'` | {median(imports):.2f} | {100 * share:.0f} % |"
    yield f"| `mynet serve` to ready | {median(starts):.2f} | 100 % |"
    yield ""
    yield from memory.lines()
