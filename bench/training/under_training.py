"""Predictions while a job trains, and a job while predictions come: what each costs the other.

A real service answers `POST /predict` at a steady 50 requests a second, one MNIST image each, with
and without a job that trains. A latency counts from when its request was due, and every digit must
be the one that the same version gave before. An epoch's seconds are the job's own, of epochs that
lie wholly within a phase. The phases are interleaved: no job, job and requests, job alone. All is
measured twice: on all cores, and with the service and what it starts on one core.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from app.train.recipes.dataset import load as load_mnist
from tests.conftest import DATA, png
from tests.rigs.load.http_load import Exchange, failed, load, percentile, run, steady_due_times
from tests.service.running import Service, run_service

RATE: Final = 50
SECONDS: Final = float(os.environ.get("BENCH_SECONDS", "20"))
ROUNDS: Final = 3
IMAGES: Final = 1000
CONNECTIONS: Final = 16
MAX_P99_RATIO: Final = 2
MAX_EPOCH_RATIO: Final = 1.3
LONG_JOB: Final = b'{"epochs": 1000, "seed": 1, "promote": "never"}'


class Layout(NamedTuple):
    """The cores of the service with all that it starts, and those of the load."""

    name: str
    service: set[int]
    load: set[int]


class Round(NamedTuple):
    """The requests without and with a job, and its seconds per epoch with and without requests."""

    quiet: list[Exchange]
    busy: list[Exchange]
    pressed: list[float]
    unloaded: list[float]


def layouts() -> Iterator[Layout]:
    """List the layouts of cores; one alone if the system cannot pin processes, as macOS."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    yield Layout("all cores", cores, cores)
    if cores:
        first = {min(cores)}
        yield Layout("one core", first, cores - first or first)


@contextmanager
def serve_on(layout: Layout) -> Iterator[Service]:
    """Start a service on its cores; this process goes to those of the load."""
    with TemporaryDirectory() as folder:
        move_to(layout.service)
        with run_service(Path(folder) / "var", train_standby=True) as service:
            move_to(layout.load)
            yield service
        move_to(layout.service | layout.load)


def move_to(cores: set[int]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)


def measure(layout: Layout, uploads: Sequence[bytes]) -> tuple[list[Round], int]:
    """Measure all rounds, and count the digits that were not those given before."""
    with serve_on(layout) as service:
        first = run(load(service.port, uploads, repeat(0.0, len(uploads)), 4))
        expected = {exchange.upload: exchange.answer["digit"] for exchange in first}

        def send() -> list[Exchange]:
            return run(load(service.port, uploads, steady_due_times(RATE, SECONDS), CONNECTIONS))

        rounds = [measure_round(service, send) for _ in range(ROUNDS)]
    exchanges = [exchange for result in rounds for exchange in (*result.quiet, *result.busy)]
    answered = [exchange for exchange in exchanges if exchange.answer]
    return rounds, sum(
        exchange.answer["digit"] != expected[exchange.upload] for exchange in answered
    )


def measure_round(service: Service, send: Callable[[], list[Exchange]]) -> Round:
    """Measure without a job, then with one, then that job alone."""
    quiet, busy = send(), []
    job = service.post("/train", LONG_JOB)["id"]
    service.job_until(job, lambda body: body["epochs"])
    pressed = epochs_during(service, job, lambda: busy.extend(send()))
    unloaded = epochs_during(service, job, lambda: time.sleep(SECONDS))
    service.post(f"/train/{job}/cancel")
    service.training_is_gone()
    return Round(quiet, busy, pressed, unloaded)


def epochs_during(service: Service, job: str, phase: Callable[[], None]) -> list[float]:
    """Return the seconds of each epoch that began and ended in a phase."""
    before = len(service.get(f"/train/{job}")["epochs"])
    phase()
    after = service.get(f"/train/{job}")["epochs"]
    return [epoch["seconds"] for epoch in after[before + 1 :]]


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    uploads = [png(pixels.numpy()) for pixels in load_mnist(DATA).test.pixels[:IMAGES]]
    measured = [(layout.name, *measure(layout, uploads)) for layout in layouts()]
    yield "## Predictions while a job trains (`python -m bench under_training`)"
    yield ""
    yield (
        f"`POST /predict`, {RATE} requests a second, {ROUNDS} × {SECONDS:.0f} s for each line, "
        "interleaved. On one core are the service and the job; the load is on the others, if any."
    )
    yield ""
    yield "| | p50 ms | p99 ms | p99 of each round | requests | failed | wrong digits |"
    yield "|---|---|---|---|---|---|---|"
    for name, rounds, wrong in measured:
        yield latencies(f"{name}, no job", [result.quiet for result in rounds], wrong)
        yield latencies(f"{name}, a job trains", [result.busy for result in rounds], wrong)
    yield ""
    yield "| | p99 with a job | goal | an epoch with requests | goal | seconds alone |"
    yield "|---|---|---|---|---|---|"
    for name, rounds, _ in measured:
        yield ratios(name, rounds)


def latencies(label: str, phases: Sequence[list[Exchange]], wrong: int) -> str:
    """Return a line of the first table."""
    all_rounds = [exchange for phase in phases for exchange in phase]
    p50, p99 = (f"{percentile(all_rounds, percent):.1f}" for percent in (50, 99))
    each_round = ", ".join(f"{percentile(phase, 99):.1f}" for phase in phases)
    counts = f"{len(all_rounds)} | {failed(all_rounds)} | {wrong}"
    return f"| {label} | {p50} | {p99} | {each_round} | {counts} |"


def ratios(name: str, rounds: Sequence[Round]) -> str:
    """Return a line of the second table: what each costs the other."""
    quiet, busy = (
        percentile([exchange for phase in phases for exchange in phase], 99)
        for phases in ([result.quiet for result in rounds], [result.busy for result in rounds])
    )
    unloaded = median(seconds for result in rounds for seconds in result.unloaded)
    pressed = median(seconds for result in rounds for seconds in result.pressed)
    return (
        f"| {name} | **{busy / quiet:.2f} ×** | ≤ {MAX_P99_RATIO} × "
        f"| **{pressed / unloaded:.2f} ×** | ≤ {MAX_EPOCH_RATIO} × | {unloaded:.2f} |"
    )
