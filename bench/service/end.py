"""Seconds from SIGTERM to the end of the process, with full load and without load."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from tests.rigs.load.idle_clients import Crowd
from tests.rigs.load.photo import photo
from tests.service.running import Service, run_service

ROUNDS: Final = 3
WORKERS: Final = (1, 2)
FOLLOWERS: Final = 8
PHOTOS: Final = 24
HYPERPARAMETERS: Final = json.dumps({"epochs": 1000, "promote": "never"}).encode()
MAX_SECONDS: Final = 10


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    yield "## Told to end (`python -m bench end`)"
    yield ""
    yield (
        f"Seconds from SIGTERM to the end of the process, median and longest of {ROUNDS} rounds, "
        f"interleaved. In progress: a training, {FOLLOWERS} clients that follow it, {PHOTOS} "
        "photos over and over, 2,000 idle connections and 200 senders of one byte a second."
    )
    yield ""
    yield "| workers | nothing under way | all of it |"
    yield "|---|---|---|"
    max_seconds = 0.0
    for workers in WORKERS:
        rounds = [
            (seconds(workers, busy=False), seconds(workers, busy=True)) for _ in range(ROUNDS)
        ]
        cells = [
            f"{median(column):.1f} ({max(column):.1f})" for column in zip(*rounds, strict=True)
        ]
        yield f"| {workers} | {' | '.join(cells)} |"
        max_seconds = max(max_seconds, *(busy for _, busy in rounds))
    yield ""
    yield f"**{max_seconds:.1f} s at most** (goal: at most {MAX_SECONDS} s)."


def seconds(workers: int, *, busy: bool) -> float:
    """Start a service, and say how long its end takes."""
    with (
        TemporaryDirectory() as folder,
        ExitStack() as stack,
        run_service(Path(folder) / "var", workers=str(workers)) as service,
    ):
        if busy:
            start_load(service, stack)
        started = time.perf_counter()
        service.end()
        return time.perf_counter() - started


def start_load(service: Service, stack: ExitStack) -> None:
    upload, _ = photo()
    job = service.post("/train", HYPERPARAMETERS)["id"]
    service.job_until(job, lambda body: body["progress"])
    stack.enter_context(Crowd(service.port, upload))
    tasks = [("GET", f"/train/{job}/events", b"")] * FOLLOWERS
    tasks += [("POST", "/predict", upload)] * PHOTOS
    for task in tasks:
        threading.Thread(target=request_repeatedly, args=(service.port, *task), daemon=True).start()
    time.sleep(3)


def request_repeatedly(port: int, method: str, path: str, body: bytes) -> None:
    """Send the request again and again, until the service is gone."""
    with suppress(OSError, HTTPException), closing(HTTPConnection("127.0.0.1", port)) as connection:
        while True:
            connection.request(method, path, body)
            connection.getresponse().read()
