"""One, two and four replicas under Ray Serve, each beside `mynet serve` with one worker.

What enters: nothing; it takes the environment of `make test-ray`, and `SERVICE` names `mynet` where
that environment has none. What leaves: the lines of the report. Both sides are up and pressed in
turn; Ray's side is `mynet serve --on ray` with a cluster of its own. CPU is that of all processes
below the command, Ray's own among them. This module does not know of several machines.
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

from bench import lookalikes, swapping
from bench.digits import form
from bench.load import failed, run
from bench.lookalikes import Known
from bench.press import Request, press
from bench.timed import checked
from tests.ray.cluster import serving as serving_on_ray
from tests.service.running import Service, serving

REPLICAS: Final = (1, 2, 4)
LEVELS: Final = (4, 64)
ROUNDS: Final = 3
SECONDS: Final = 2.0
IDLE: Final = 6.0
PROMOTIONS: Final = 8
EVERY: Final = 1.0
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
    """Measure, and give the lines of the report."""
    loaded = os.getloadavg()[0]
    measured, others = {}, []
    for replicas in REPLICAS:
        with TemporaryDirectory() as folder, ExitStack() as stack:
            states = {name: Path(folder) / name for name in (PLAIN, RAY)}
            known, _ = map(lookalikes.make, states.values())
            there = {
                PLAIN: stack.enter_context(serving(states[PLAIN])),
                RAY: stack.enter_context(serving_on_ray(None, states[RAY], workers=replicas)),
            }
            pressed(there, known, ROUNDS)  # Serve's proxy and all replicas have answered then
            measured[replicas] = [pressed(there, known, SECONDS) for _ in range(ROUNDS)]
            others.append(line_of_others(replicas, there, known))
    yield "## Replicas on Ray (`python -m bench ray`)"
    yield ""
    yield (
        "`POST /predict`, MNIST images as forms, each answer compared, through Serve's proxy to so "
        f"many replicas, and to `mynet serve` with one worker; {ROUNDS} × {SECONDS:.0f} s for each "
        "cell, in turn, medians; × is the median of the rounds' ratios. The load, Ray and the "
        f"replicas share {os.cpu_count()} cores, whose load was {loaded:.1f} before."
    )
    yield ""
    yield from table(measured)
    yield ""
    yield (
        f"Idle is all of `mynet serve --on ray`. {PROMOTIONS} promotions and rollbacks under load, "
        f"{EVERY:.0f} s apart; an older version's last answer counts from a promotion's answer."
    )
    yield ""
    yield "| replicas | CPU while idle | plain | older version's last answer, s | not answered |"
    yield "|---|---|---|---|---|"
    yield from others


def table(measured: dict[int, list[Round]]) -> Iterator[str]:
    """Give a line for each number of replicas at each number of connections."""
    yield (
        "| replicas | connections | requests/s | × plain | p50 ms | × plain | p99 ms | × plain | "
        "CPU µs a request | × plain | not answered |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for replicas, rounds in measured.items():
        for level in LEVELS:
            cells = [
                cell for field in Measured._fields[:4] for cell in beside(rounds, level, field)
            ]
            lost = sum(each[RAY, level].lost for each in rounds)
            yield f"| {replicas} | {level} | {' | '.join(cells)} | {lost} |"


def beside(rounds: Sequence[Round], level: int, field: str) -> tuple[str, str]:
    """Give Ray's figure, and how many times the plain service's it is."""
    there = [getattr(each[RAY, level], field) for each in rounds]
    plain = [getattr(each[PLAIN, level], field) for each in rounds]
    ratio = median(a / b for a, b in zip(there, plain, strict=True))
    return f"{median(there):,.0f}", f"{ratio:.2f}"


def pressed(services: dict[str, Service], known: Known, seconds: float) -> Round:
    """Press each in turn, at each level. Raises WrongDigit."""
    digits = known.probabilities[1].argmax(1).tolist()
    requests = [
        Request(form(upload), digit) for upload, digit in zip(known.uploads, digits, strict=True)
    ]
    measured = {}
    for level in LEVELS:
        for name, service in services.items():
            before = cpu_seconds(service.process.pid)
            result = checked(press(service.port, requests, level, seconds))
            cost = 1e6 * (cpu_seconds(service.process.pid) - before)
            measured[name, level] = Measured(
                result.rate,
                result.percentile(50),
                result.percentile(99),
                cost / (len(result.latencies) + result.lost),
                result.lost,
            )
    return measured


def line_of_others(replicas: int, services: dict[str, Service], known: Known) -> str:
    """Say what waiting costs, and how soon all follow a promotion."""
    idle = [f"{100 * cost_of_idling(services[name]):.0f} % of a core" for name in (RAY, PLAIN)]
    port = services[RAY].port
    swaps = swapping.swap(port, PROMOTIONS, EVERY)
    phase = run(swapping.press(port, known, LEVELS[0], swaps, kept=False))
    if phase.not_swapped or lookalikes.mistaken(phase.exchanges, known):
        raise RuntimeError(services[RAY].log.read_text())
    lost = failed(phase.exchanges)
    return f"| {replicas} | {' | '.join(idle)} | {phase.slowest:.2f} | {lost} |"


def cost_of_idling(service: Service) -> float:
    """Give the share of a core that it takes to wait."""
    before = cpu_seconds(service.process.pid)
    time.sleep(IDLE)
    return (cpu_seconds(service.process.pid) - before) / IDLE


def cpu_seconds(process: int) -> float:
    """Give the CPU seconds of a process and of all below it, where Linux tells."""
    ticks, below = {}, defaultdict(list)
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(file.parent.name)
        ticks[pid] = sum(map(int, fields[11:15]))
        below[int(fields[1])].append(pid)
    total, found = 0, [process]
    while found:
        pid = found.pop()
        total += ticks.get(pid, 0)
        found += below[pid]
    return total / os.sysconf("SC_CLK_TCK")
