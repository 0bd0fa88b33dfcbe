"""`python -m bench [NAME …]`: run the measurements, by default all but the long, and keep results.

Each measurement's part of `RESULTS.md` is replaced; the parts of those that did not run stay.
"""

import platform
import re
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import torch

from app.config.cpus import available_cpus

RESULTS = Path(__file__).with_name("RESULTS.md")
DEFAULT_BENCHMARKS = {
    "predict": "bench.predictions.predict",
    "stages": "bench.predictions.stages",
    "normalise": "bench.predictions.normalise",
    "fair": "bench.predictions.fair",
    "train": "bench.training.train",
    "start": "bench.service.start",
    "end": "bench.service.end",
    "under_training": "bench.training.under_training",
    "swaps": "bench.service.swaps",
    "scaling": "bench.service.scaling",
}
LONG_BENCHMARKS = {
    "kills": "tests.rigs.kills.kills",
    "sweeps": "bench.training.sweeps",
    "overload": "bench.predictions.overload",
    "chaos": "tests.rigs.chaos.chaos",
    "ray": "bench.service.ray",
}
BENCHMARKS = DEFAULT_BENCHMARKS | LONG_BENCHMARKS
HEAD = """# Results

Written by `make bench`. Ratios count: both sides were measured in one run, on a machine whose speed
varies; seconds are those of that machine on that day.
"""


def main() -> None:
    parts = dict(re.findall(r"<!-- (\w+) -->\n(.*?)(?=\n<!-- |\Z)", _results(), re.DOTALL))
    machine = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {platform.machine()}, "
        f"{available_cpus()} cores, Python {platform.python_version()}, torch {torch.__version__}."
    )
    for name in sys.argv[1:] or DEFAULT_BENCHMARKS:
        lines = list(import_module(BENCHMARKS[name]).main())
        print("\n".join(lines), flush=True)
        parts[name] = "\n".join([lines[0], "", machine, *lines[1:], ""])
    sections = (
        f"<!-- {name} -->\n{parts[name].rstrip()}\n" for name in BENCHMARKS if name in parts
    )
    RESULTS.write_text("\n".join([HEAD, *sections]))


def _results() -> str:
    return RESULTS.read_text() if RESULTS.exists() else ""


if __name__ == "__main__":
    main()
