"""Seconds from the `202` of a job to the end of its first batch.

The job has a standby process, which has done its imports, unless it is sent at once after the
start: it then imports PyTorch for a while longer.
"""

import re
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
DOCUMENTED: Final = b'{"recipe": "documented", "epochs": 1, "seed": 1, "promote": "never"}'
ROBUST: Final = b'{"recipe": "robust", "epochs": 1, "seed": 1, "promote": "never"}'
POLL: Final = 0.01
LABELS: Final = (
    "job sent as soon as the service is ready, while its standby process imports PyTorch",
    "first job of a service, with the standby process",
    "next job, with another one",
    "`robust`, which draws the pictures of its first batch",
)


def lines() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    rounds = [measure() for _ in range(ROUNDS)]
    yield f"From `202` to the first batch, `documented` unless said, {ROUNDS} rounds."
    yield ""
    yield "| | median seconds | round by round |"
    yield "|---|---|---|"
    for label, seconds in zip(LABELS, zip(*rounds, strict=True), strict=True):
        per_round = ", ".join(f"{value:.2f}" for value in seconds)
        yield f"| {label} (goal: at most {MAX_SECONDS:.0f}) | {median(seconds):.2f} | {per_round} |"


def measure() -> tuple[float, ...]:
    """Return the seconds of a job at the start of a service, and of three later ones."""
    with TemporaryDirectory() as folder:
        with run_service(Path(folder) / "first", train_standby=True) as service:
            seconds = [seconds_to_first_batch(service, DOCUMENTED)]
        with run_service(Path(folder) / "second", train_standby=True) as service:
            for number, job in enumerate((DOCUMENTED, DOCUMENTED, ROBUST), 1):
                wait_for_standby(service, number)
                seconds.append(seconds_to_first_batch(service, job))
    return tuple(seconds)


def seconds_to_first_batch(service: Service, body: bytes) -> float:
    """Queue a job, return the seconds until its first batch, and cancel it."""
    job = service.post("/train", body)["id"]
    started = time.perf_counter()
    while (service.get(f"/train/{job}")["phase"] or {}).get("name") != "training":
        time.sleep(POLL)
    seconds = time.perf_counter() - started
    service.post(f"/train/{job}/cancel")
    service.job_until(job, lambda body: body["finished_at"])
    service.training_is_gone()
    return seconds


def wait_for_standby(service: Service, number: int) -> None:
    """Wait until this standby process of the service uses no more time: it has its imports."""
    pattern = r"standby process started: pid=(\d+)"
    assert wait_until(lambda: len(re.findall(pattern, service.log.read_text())) >= number)
    pid = re.findall(pattern, service.log.read_text())[number - 1]
    command = ["ps", "-o", "cputimes=", "-p", pid]
    before = None
    while (now := subprocess.run(command, capture_output=True, check=True).stdout) != before:
        before = now
        time.sleep(5)
