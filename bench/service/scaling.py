"""Benchmark of one, two and four workers: throughput, CPU time of a request, seconds to swap.

The load shares the machine's cores with the service. So requests a second say little if the workers
could use all cores; the CPU time of a request is the service's own.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import numpy as np

from app.train.recipes.dataset import load as load_mnist
from bench.harness.wrk import WrongDigit, verify
from tests.conftest import DATA
from tests.rigs.load.closed_loop import Request, press
from tests.rigs.load.uploads import batch, form, images
from tests.service.running import Service, run_service

WORKERS: Final = (1, 2, 4)
LEVELS: Final = (4, 64)
ROUNDS: Final = 3
SECONDS: Final = 2.0
IDLE: Final = 6.0
PROMOTIONS: Final = 8
BATCH_SIZE: Final = 256
SWAP_TIMEOUT: Final = 10
POLL_INTERVAL: Final = 0.005


# The path, headers and body of a request, and how to read the digits of its answer.
BatchRequest = tuple[str, dict[str, str], bytes, Callable[[bytes], list[int]]]


class Measured(NamedTuple):
    """Requests a second, milliseconds, microseconds of CPU a request, requests not answered."""

    rate: float
    p99: float
    cost: float
    lost: int


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    uploads, digits = images()
    requests = [Request(form(upload), digit) for upload, digit in zip(uploads, digits, strict=True)]
    with TemporaryDirectory() as folder, ExitStack() as stack:
        services = {
            workers: stack.enter_context(
                run_service(Path(folder) / f"{workers}", workers=str(workers))
            )
            for workers in WORKERS
        }
        for workers, service in services.items():
            wait_for(service, workers)
        idle = {workers: idle_cost(service) for workers, service in services.items()}
        rounds = [measure_round(services, requests) for _ in range(ROUNDS)]
        swaps = {workers: promotions(service, workers) for workers, service in services.items()}
        batch_lines = list(batch_report(services[1], uploads, digits))
    yield "## Workers (`python -m bench scaling`)"
    yield ""
    yield (
        f"`POST /predict`, {len(uploads):,} MNIST images as forms, each answer compared; "
        f"{ROUNDS} × {SECONDS:.0f} s for each cell, interleaved, medians. The load and the workers "
        f"share {os.cpu_count()} cores, which others used, too. CPU is that of all processes of "
        "the service, from `/proc`. A swap counts from when it was answered until every worker "
        f"serves the version; {PROMOTIONS} for each."
    )
    yield ""
    yield from table(rounds, idle, swaps)
    yield ""
    yield from batch_lines


def table(
    rounds: Sequence[dict[tuple[int, int], Measured]],
    idle: dict[int, float],
    swaps: dict[int, list[float]],
) -> Iterator[str]:
    """Yield a line for each number of workers at each number of connections."""
    yield (
        "| workers | connections | requests/s | p99 ms | CPU µs a request | not answered | "
        "CPU while idle | all swapped after, s (at most) |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for workers in WORKERS:
        for level in LEVELS:
            results = [figures[workers, level] for figures in rounds]
            rate, p99, cost = (
                median(getattr(result, name) for result in results)
                for name in ("rate", "p99", "cost")
            )
            swap_cell = f"{median(swaps[workers]):.2f} ({max(swaps[workers]):.2f})"
            yield (
                f"| {workers} | {level} | {rate:,.0f} | {p99:.0f} | {cost:.0f} | "
                f"{sum(result.lost for result in results)} | {100 * idle[workers]:.1f} % of a "
                "core | "
                f"{swap_cell} |"
            )


def measure_round(
    services: dict[int, Service], requests: Sequence[Request]
) -> dict[tuple[int, int], Measured]:
    """Press each in turn, at each level. Raises WrongDigit."""
    measured = {}
    for level in LEVELS:
        for workers, service in services.items():
            group = service.process.pid
            cpu_before = cpu_seconds(group)
            result = verify(press(service.port, requests, level, SECONDS))
            cost = 1e6 * (cpu_seconds(group) - cpu_before) / (len(result.latencies) + result.lost)
            measured[workers, level] = Measured(
                result.rate, result.percentile(99), cost, result.lost
            )
    return measured


def idle_cost(service: Service) -> float:
    """Return the share of a core that it takes to wait for requests, versions and jobs."""
    cpu_before = cpu_seconds(service.process.pid)
    time.sleep(IDLE)
    return (cpu_seconds(service.process.pid) - cpu_before) / IDLE


def promotions(service: Service, workers: int) -> list[float]:
    """Go live with one version and another, and time how long the last worker takes."""
    durations = []
    for number in range(PROMOTIONS):
        swaps_before = service.went_live
        body = json.dumps({"version": 1 + number % 2}).encode()
        with closing(HTTPConnection("127.0.0.1", service.port)) as connection:
            connection.request("PUT", "/models/current", body)
            if connection.getresponse().status != 200:
                raise RuntimeError(service.log.read_text())
        answered_at = time.perf_counter()
        wait_for(service, swaps_before + workers)
        durations.append(time.perf_counter() - answered_at)
    return durations


def wait_for(service: Service, swaps: int) -> None:
    deadline = time.monotonic() + SWAP_TIMEOUT
    while service.went_live < swaps:
        if time.monotonic() > deadline:
            raise RuntimeError(service.log.read_text())
        time.sleep(POLL_INTERVAL)


def batch_report(
    service: Service, uploads: Sequence[bytes], digits: Sequence[int]
) -> Iterator[str]:
    """Send many images in each request, as files and as pixels. Raises WrongDigit."""
    expected = list(digits[:BATCH_SIZE])
    yield f"{BATCH_SIZE} images a request, one worker, one connection, each digit compared:"
    yield ""
    yield "| | images/s | CPU µs an image |"
    yield "|---|---|---|"
    for label, path, headers, body, read in (
        ("`POST /predict/batch`, PNG files", *as_files(uploads)),
        ("`POST /v2/models/mynet/infer`, pixels as a binary tensor", *as_pixels()),
    ):
        with closing(HTTPConnection("127.0.0.1", service.port)) as connection:
            image_count, cpu_before, started = (
                0,
                cpu_seconds(service.process.pid),
                time.perf_counter(),
            )
            while time.perf_counter() - started < ROUNDS * SECONDS:
                connection.request("POST", path, body, headers)
                if (received := read(connection.getresponse().read())) != expected:
                    raise WrongDigit(f"{received} in a batch, not {expected}")
                image_count += BATCH_SIZE
            elapsed = time.perf_counter() - started
        cost = 1e6 * (cpu_seconds(service.process.pid) - cpu_before) / image_count
        yield f"| {label} | {image_count / elapsed:,.0f} | {cost:.0f} |"


def as_files(uploads: Sequence[bytes]) -> BatchRequest:
    head, _, body = batch(uploads[:BATCH_SIZE]).partition(b"\r\n\r\n")
    content_type = head.rpartition(b": ")[2].decode()

    def read(answer: bytes) -> list[int]:
        return [prediction.get("digit") for prediction in json.loads(answer)["predictions"]]

    return "/predict/batch", {"Content-Type": content_type}, body, read


def as_pixels() -> BatchRequest:
    pixels = load_mnist(DATA).test.pixels[:BATCH_SIZE].numpy().tobytes()
    tensor = {"name": "image", "shape": [BATCH_SIZE, 28, 28], "datatype": "UINT8"}
    tensor["parameters"] = {"binary_data_size": len(pixels)}
    output = {"name": "digit", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }

    def read(answer: bytes) -> list[int]:
        return np.frombuffer(answer[-8 * BATCH_SIZE :], "<i8").tolist()

    return "/v2/models/mynet/infer", headers, head + pixels, read


def cpu_seconds(group: int) -> float:
    """Return the CPU seconds of the processes of a group, named after its first, where Linux tells.

    Those that ended and were waited for count with those that waited.
    """
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
