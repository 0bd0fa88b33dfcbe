"""Seconds from the `202` of a job to its first batch: of the first job of a service, and the next.

The next job has a standby process, which has done its imports by then.
"""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from tests.service.running import Service, run_service, wait_until

ROUNDS: Final = 3
MAX_SECONDS: Final = 2.0
JOB: Final = b'{"recipe": "documented", "epochs": 1, "seed": 1, "promote": "never"}'
POLL: Final = 0.01
LABELS: Final = ("first job of a service", "next job, with a standby process")


def lines() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    rounds = [measure() for _ in range(ROUNDS)]
    yield f"From `202` to the first batch (`documented`), {ROUNDS} rounds."
    yield ""
    yield "| | median seconds | round by round |"
    yield "|---|---|---|"
    for label, seconds in zip(LABELS, zip(*rounds, strict=True), strict=True):
        per_round = ", ".join(f"{value:.2f}" for value in seconds)
        yield f"| {label} (goal: at most {MAX_SECONDS:.0f}) | {median(seconds):.2f} | {per_round} |"


def measure() -> tuple[float, float]:
    """Return the seconds of the first and of the second job of a new service."""
    with TemporaryDirectory() as folder, run_service(Path(folder) / "var") as service:
        first = seconds_to_first_batch(service)
        wait_for_standby(service)
        return first, seconds_to_first_batch(service)


def seconds_to_first_batch(service: Service) -> float:
    """Queue a job, and return the seconds until its first batch. Waits for the job's end."""
    job = service.post("/train", JOB)["id"]
    started = time.perf_counter()
    while (service.get(f"/train/{job}")["phase"] or {}).get("name") != "training":
        time.sleep(POLL)
    seconds = time.perf_counter() - started
    service.job_until(job, lambda body: body["result"])
    service.training_is_gone()
    return seconds


def wait_for_standby(service: Service) -> None:
    """Wait until the standby process has done its imports: until it uses no more time."""
    assert wait_until(lambda: "standby process started: pid=" in service.log.read_text())
    pid = service.log.read_text().rpartition("standby process started: pid=")[2].split()[0]
    command = ["ps", "-o", "cputimes=", "-p", pid]
    before = None
    while (now := subprocess.run(command, capture_output=True, check=True).stdout) != before:
        before = now
        time.sleep(5)
