"""Benchmark of one, two and four replicas under Ray Serve, against `mynet serve` with one worker.

It needs the environment of `make test-ray`; `SERVICE` names `mynet` if that environment has none.
Both services run, and get load in turn. Ray's side is `mynet serve --on ray` with a cluster of its
own. CPU time is that of all processes below the command, including Ray's own.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from bench.harness.wrk import verify
from tests.ray.rigs.cluster import run_service as serving_on_ray
from tests.rigs.load.closed_loop import Request, press
from tests.rigs.load.http_load import failed, run
from tests.rigs.load.uploads import form
from tests.rigs.swaps import distinct_versions, swapping
from tests.rigs.swaps.distinct_versions import ReferenceAnswers
from tests.service.running import Service, run_service

REPLICAS: Final = (1, 2, 4)
LEVELS: Final = (4, 64)
ROUNDS: Final = 3
SECONDS: Final = 2.0
IDLE: Final = 6.0
PROMOTIONS: Final = 8
SWAP_INTERVAL: Final = 1.0
PLAIN, RAY = "plain", "Ray"


class Measured(NamedTuple):
    """Requests a second, milliseconds, microseconds of CPU a request, requests not answered."""

    rate: float
    p50: float
    p99: float
    cost: float
    lost: int


Round = dict[tuple[str, int], Measured]


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    load_average = os.getloadavg()[0]
    measured, other_rows = {}, []
    for replicas in REPLICAS:
        with TemporaryDirectory() as folder, ExitStack() as stack:
            states = {name: Path(folder) / name for name in (PLAIN, RAY)}
            reference, _ = map(distinct_versions.make, states.values())
            services = {
                PLAIN: stack.enter_context(run_service(states[PLAIN])),
                RAY: stack.enter_context(serving_on_ray(None, states[RAY], workers=replicas)),
            }
            measure_round(
                services, reference, ROUNDS
            )  # Serve's proxy and all replicas have answered then
            measured[replicas] = [
                measure_round(services, reference, SECONDS) for _ in range(ROUNDS)
            ]
            other_rows.append(idle_and_swap_row(replicas, services, reference))
    yield "## Replicas on Ray (`python -m bench ray`)"
    yield ""
    yield (
        "`POST /predict`, MNIST images as forms, each answer compared, through Serve's proxy to so "
        f"many replicas, and to `mynet serve` with one worker; {ROUNDS} × {SECONDS:.0f} s for each "
        "cell, in turn, medians; × is the median of the rounds' ratios. The load, Ray and the "
        f"replicas share {os.cpu_count()} cores, whose load was {load_average:.1f} before."
    )
    yield ""
    yield from table(measured)
    yield ""
    yield (
        f"Idle is all of `mynet serve --on ray`. {PROMOTIONS} promotions and rollbacks under load, "
        f"{SWAP_INTERVAL:.0f} s apart; an older version's last answer counts from a promotion's "
        "answer."
    )
    yield ""
    yield "| replicas | CPU while idle | plain | older version's last answer, s | not answered |"
    yield "|---|---|---|---|---|"
    yield from other_rows


def table(measured: dict[int, list[Round]]) -> Iterator[str]:
    """Yield a line for each number of replicas at each number of connections."""
    yield (
        "| replicas | connections | requests/s | × plain | p50 ms | × plain | p99 ms | × plain | "
        "CPU µs a request | × plain | not answered |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for replicas, rounds in measured.items():
        for level in LEVELS:
            cells = [
                cell for field in Measured._fields[:4] for cell in compare(rounds, level, field)
            ]
            lost = sum(figures[RAY, level].lost for figures in rounds)
            yield f"| {replicas} | {level} | {' | '.join(cells)} | {lost} |"


def compare(rounds: Sequence[Round], level: int, field: str) -> tuple[str, str]:
    """Return Ray's figure, and how many times the plain service's it is."""
    ray_values = [getattr(figures[RAY, level], field) for figures in rounds]
    plain_values = [getattr(figures[PLAIN, level], field) for figures in rounds]
    ratio = median(a / b for a, b in zip(ray_values, plain_values, strict=True))
    return f"{median(ray_values):,.0f}", f"{ratio:.2f}"


def measure_round(
    services: dict[str, Service], reference: ReferenceAnswers, seconds: float
) -> Round:
    """Press each in turn, at each level. Raises WrongDigit."""
    digits = reference.probabilities[1].argmax(1).tolist()
    requests = [
        Request(form(upload), digit)
        for upload, digit in zip(reference.uploads, digits, strict=True)
    ]
    measured = {}
    for level in LEVELS:
        for name, service in services.items():
            cpu_before = cpu_seconds(service.process.pid)
            result = verify(press(service.port, requests, level, seconds))
            cost = 1e6 * (cpu_seconds(service.process.pid) - cpu_before)
            measured[name, level] = Measured(
                result.rate,
                result.percentile(50),
                result.percentile(99),
                cost / (len(result.latencies) + result.lost),
                result.lost,
            )
    return measured


def idle_and_swap_row(
    replicas: int, services: dict[str, Service], reference: ReferenceAnswers
) -> str:
    """Return what waiting costs, and how soon all follow a promotion."""
    idle = [f"{100 * idle_cost(services[name]):.0f} % of a core" for name in (RAY, PLAIN)]
    port = services[RAY].port
    swaps = swapping.swap(port, PROMOTIONS, SWAP_INTERVAL)
    phase = run(swapping.press(port, reference, LEVELS[0], swaps, keep_alive=False))
    if phase.not_swapped or distinct_versions.count_mismatches(phase.exchanges, reference):
        raise RuntimeError(services[RAY].log.read_text())
    lost = failed(phase.exchanges)
    return f"| {replicas} | {' | '.join(idle)} | {phase.slowest:.2f} | {lost} |"


def idle_cost(service: Service) -> float:
    """Return the share of a core that it takes to wait."""
    cpu_before = cpu_seconds(service.process.pid)
    time.sleep(IDLE)
    return (cpu_seconds(service.process.pid) - cpu_before) / IDLE


def cpu_seconds(process: int) -> float:
    """Return the CPU seconds of a process and of all below it, where Linux tells."""
    ticks, children = {}, defaultdict(list)
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(file.parent.name)
        ticks[pid] = sum(map(int, fields[11:15]))
        children[int(fields[1])].append(pid)
    total, pending = 0, [process]
    while pending:
        pid = pending.pop()
        total += ticks.get(pid, 0)
        pending += children[pid]
    return total / os.sysconf("SC_CLK_TCK")
