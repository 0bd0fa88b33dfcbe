"""A sweep of eight seeds beside one job, and predictions during it.

A real service trains the documented loop. The rounds are interleaved: no job, one job, a sweep of
eight seeds. Seconds count from the request to the end of the last job. `POST /predict` at a steady
rate is measured without a job and during each sweep, in phases of the same length.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from app.config.cpus import background_cpus
from app.train.recipes.dataset import load as load_mnist
from bench.training.under_training import (
    CONNECTIONS,
    IMAGES,
    MAX_P99_RATIO,
    RATE,
    latencies,
)
from tests.conftest import DATA, png
from tests.rigs.load.http_load import Exchange, load, percentile, run, steady_due_times
from tests.service.running import Service, run_service, wait_until

SEEDS: Final = 8
EPOCHS: Final = int(os.environ.get("BENCH_EPOCHS", "10"))
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS: Final = 15.0
TIMEOUT: Final = 3600.0
# On two cores. With n cores it would be about SEEDS / n.
MAX_RATIO: Final = 4.4


class Round(NamedTuple):
    """Seconds of one job and of a sweep, and the requests without and during another sweep."""

    one: float
    sweep: float
    quiet: list[Exchange]
    busy: list[Exchange]


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    uploads = [png(pixels.numpy()) for pixels in load_mnist(DATA).test.pixels[:IMAGES]]
    with (
        TemporaryDirectory() as folder,
        run_service(Path(folder) / "var", train_standby=True) as service,
    ):
        rounds = [measure_round(service, uploads) for _ in range(ROUNDS)]
    yield "## A sweep on all cores (`python -m bench sweeps`)"
    yield ""
    yield (
        f"{SEEDS} seeds of the documented loop, {EPOCHS} epochs each, beside one job; "
        f"{ROUNDS} rounds, interleaved, on {background_cpus()} cores. Load average at the end: "
        f"{os.getloadavg()[0]:.1f}."
    )
    yield ""
    yield "| | median seconds | all rounds |"
    yield "|---|---|---|"
    yield line("one job", [result.one for result in rounds])
    yield line(f"a sweep of {SEEDS}", [result.sweep for result in rounds])
    yield ""
    ratios = [result.sweep / result.one for result in rounds]
    all_ratios = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    yield (
        f"**{median(ratios):.2f} × the time of one** (round by round: {all_ratios}; goal on two "
        f"cores: at most {MAX_RATIO} ×)."
    )
    yield ""
    yield from predictions_table(rounds)


def predictions_table(rounds: Sequence[Round]) -> Iterator[str]:
    yield "| | p50 ms | p99 ms | p99 of each round | requests | failed | wrong digits |"
    yield "|---|---|---|---|---|---|---|"
    quiet, busy = [result.quiet for result in rounds], [result.busy for result in rounds]
    yield latencies("no job", quiet, 0)
    yield latencies("a sweep trains", busy, count_differences(quiet, busy))
    yield ""
    before, during = (percentile([*chain(*phases)], 99) for phases in (quiet, busy))
    yield f"p99 during a sweep: **{during / before:.2f} ×** (goal: at most {MAX_P99_RATIO} ×)."


def measure_round(service: Service, uploads: Sequence[bytes]) -> Round:
    """Measure one job, then a sweep; then predictions without a job, and during a sweep."""
    one = seconds_of_sweep(service, 1)
    sweep = seconds_of_sweep(service, SEEDS)
    quiet = send(service, uploads)
    running = start(service, SEEDS)
    assert wait_until(lambda: len(training_jobs(service)) == min(SEEDS, background_cpus()))
    busy = send(service, uploads)
    service.post(f"/sweeps/{running}/cancel")
    assert service.training_is_gone()
    return Round(one, sweep, quiet, busy)


def seconds_of_sweep(service: Service, seeds: int) -> float:
    """Return the seconds from the request to the end of all jobs of a sweep."""
    started = time.monotonic()
    sweep = start(service, seeds)
    assert wait_until(lambda: service.get(f"/sweeps/{sweep}")["status"] == "succeeded", TIMEOUT)
    seconds = time.monotonic() - started
    assert service.training_is_gone()
    return seconds


def start(service: Service, seeds: int) -> str:
    body = {"seed": [*range(seeds)], "epochs": EPOCHS}
    return str(service.post("/sweeps", json.dumps(body).encode())["id"])


def training_jobs(service: Service) -> list[str]:
    """List the jobs that have trained a batch and go on."""
    running = service.get("/train?status=running")["data"]
    return [job["id"] for job in running if job["progress"]]


def send(service: Service, uploads: Sequence[bytes]) -> list[Exchange]:
    return run(load(service.port, uploads, steady_due_times(RATE, SECONDS), CONNECTIONS))


def count_differences(quiet: Sequence[list[Exchange]], busy: Sequence[list[Exchange]]) -> int:
    """Count the digits that were not those given without a job."""
    expected = {exchange.upload: exchange.answer for exchange in chain(*quiet) if exchange.answer}
    pairs = [
        (exchange.answer["digit"], expected[exchange.upload]["digit"])
        for exchange in chain(*busy)
        if exchange.answer and exchange.upload in expected
    ]
    return sum(digit != other for digit, other in pairs)


def line(label: str, seconds: Sequence[float]) -> str:
    rounds = ", ".join(f"{value:.1f}" for value in seconds)
    return f"| {label} | {median(seconds):.1f} | {rounds} |"
