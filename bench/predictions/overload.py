"""Benchmark of overload: ten times the capacity, and thousands of idle or slow clients.

Photos are offered at ten times the rate at which they are read, from a process that sends each
when it is due, so that the queue is full all the time, and the median is how long that takes. Then
small images are asked for at a steady rate, with and without thousands of idle connections, senders
of a byte a second, and clients that vanish in the middle. `BENCH_SECONDS=60` offers for less long
than five minutes.
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tests.rigs.load.closed_loop import Request, press, press_all
from tests.rigs.load.idle_clients import IDLE_CONNECTIONS, SLOW_SENDERS, Crowd
from tests.rigs.load.memory import resident
from tests.rigs.load.open_loop import Flooded, begin, flood, percentile
from tests.rigs.load.photo import photo
from tests.rigs.load.uploads import raw_request, requests
from tests.service.running import Service, run_service

SECONDS: Final = float(os.environ.get("BENCH_SECONDS", "300"))
OVERLOAD_FACTOR: Final = 10
CONNECTIONS: Final = 4
PHOTO_REDUCTION: Final = 4
MAX_SLOWDOWN: Final = 1.2
MAX_REJECTION_SECONDS: Final = 0.05
MAX_RECOVERY_SECONDS: Final = 2
ROUNDS: Final = 3
RATE: Final = 200
CROWD_SECONDS: Final = 12.0
LIMITS: Final = {"predict_timeout": "2"}  # as by default; tests have more patience


class Overload(NamedTuple):
    """The result of one flood.

    It has the answers; megabytes and descriptors before, during and after; and the share of the
    cores that other machines on the same hardware took.
    """

    capacity: float
    flooded: Flooded
    recovered: float
    seconds: float
    stolen: float
    memory: list[float]
    descriptors: tuple[int, int]


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    jpeg, digit = photo(PHOTO_REDUCTION)
    with TemporaryDirectory() as folder, run_service(Path(folder) / "var", **LIMITS) as service:
        result = overload(service, Request(raw_request(jpeg), digit))
    with TemporaryDirectory() as folder, run_service(Path(folder) / "var", **LIMITS) as service:
        rounds = [measure_crowd(service, jpeg) for _ in range(ROUNDS)]
    yield "## Overload (`python -m bench overload`)"
    yield ""
    yield "Measured on two cores that the load and other work shared."
    yield ""
    yield from overload_report(result, len(jpeg))
    yield ""
    yield from crowd_report(rounds)


def overload(service: Service, request: Request) -> Overload:
    """Measure what can be served, offer ten times as much, and see how it was."""
    press(service.port, [request], CONNECTIONS, 3)  # memory and the mean of times settle
    capacity = press(service.port, [request], CONNECTIONS, 5).rate
    calm_p99 = press(service.port, [request], 1, 3).percentile(99)
    descriptors_before, memory = descriptors(service), [resident(service.process.pid)]
    times = cpu_times()
    future = begin(
        flood_until_calm, service.port, request, OVERLOAD_FACTOR * capacity, SECONDS, 2 * calm_p99
    )
    while not future.done():
        time.sleep(1)
        memory.append(resident(service.process.pid))
    stolen = stolen_since(times)
    time.sleep(6)  # connections that wait for nothing are let go after five seconds
    memory.append(resident(service.process.pid))
    descriptor_counts = descriptors_before, descriptors(service)
    return Overload(capacity, *future.result(), SECONDS, stolen, memory, descriptor_counts)


def flood_until_calm(
    port: int, request: Request, rate: float, seconds: float, max_milliseconds: float
) -> tuple[Flooded, float]:
    """Flood, then ask on until an answer takes so many milliseconds at most: in how many seconds?

    In the process that floods, which need not hand over its answers first.
    """
    flooded = flood(port, [request], rate, seconds)
    while not press_all(port, [request], 1).percentile(100) <= max_milliseconds:
        time.sleep(0.01)
    return flooded, time.perf_counter() - flooded.ended


def overload_report(result: Overload, size: int) -> Iterator[str]:
    """Report on an overload."""
    answered, rejected = result.flooded.latencies(200), result.flooded.latencies(429)
    seconds = result.flooded.per_second(200)
    full, slowest, refusal = median(answered), percentile(answered, 99), percentile(rejected, 99)
    yield (
        f"Photos of {size // 1000} kB. The service can read {result.capacity:.0f} a second; the "
        f"load offered {OVERLOAD_FACTOR} times that rate for {result.seconds:.0f} s. "
        f"{len(answered) / result.seconds:.0f} "
        f"a second were answered, {min(seconds)} in the slowest second and {max(seconds)} in the "
        f"quickest, after a median of {full:.2f} s: so long takes a full queue. Other machines on "
        f"the same hardware took {100 * result.stolen:.0f} % of the cores (steal)."
    )
    yield ""
    yield "| | count | p50 ms | p99 ms | goal |"
    yield "|---|---|---|---|---|"
    goals = f"≤ {1000 * MAX_SLOWDOWN * full:.0f}", f"≤ {1000 * MAX_REJECTION_SECONDS:.0f}"
    for label, latencies, goal in zip(
        ("answered", "`429`"), (answered, rejected), goals, strict=True
    ):
        p50, p99 = (f"{1000 * percentile(latencies, percent):.0f}" for percent in (50, 99))
        yield f"| {label} | {len(latencies)} | {p50} | {p99} | {goal} |"
    yield ""
    yield (
        f"p99 of what was answered: **{slowest / full:.2f} × a full queue** (goal: at most "
        f"{MAX_SLOWDOWN} ×); of refusals: **{1000 * refusal:.0f} ms** (goal: at most "
        f"{1000 * MAX_REJECTION_SECONDS:.0f} ms). Wrong answers: {result.flooded.wrong}; "
        f"accepted and then too late (`504`): {len(result.flooded.latencies(504))}; neither "
        "answered nor "
        f"refused: {result.flooded.unclassified}. As quick as before (twice the calm "
        f"p99) **{result.recovered:.1f} s** after the end (goal: at most {MAX_RECOVERY_SECONDS} s)."
    )
    yield ""
    third = len(result.memory) // 3
    yield (
        f"Resident memory: {result.memory[0]:.0f} MB before, at most {max(result.memory):.0f} MB, "
        f"median of the first third {median(result.memory[1 : third + 2]):.0f} MB, of the last "
        f"{median(result.memory[-third - 1 :]):.0f} MB, {result.memory[-1]:.0f} MB after. "
        "Descriptors: "
        f"{result.descriptors[0]} before, {result.descriptors[1]} after."
    )


class CrowdResult(NamedTuple):
    """A steady load without and with a crowd, and what became of the crowd."""

    quiet: Flooded
    crowded: Flooded
    vanished: int
    wasted: int
    descriptors: tuple[int, int]


def measure_crowd(service: Service, jpeg: bytes) -> CrowdResult:
    """Send requests at a steady rate, without and with thousands of other clients."""
    descriptors_before = descriptors(service)
    small = requests()
    quiet = begin(flood, service.port, small, RATE, CROWD_SECONDS).result()
    images = answered_images(service)
    with Crowd(service.port, jpeg) as crowd:
        crowded = begin(flood, service.port, small, RATE, CROWD_SECONDS).result()
    time.sleep(6)
    wasted = answered_images(service) - images - len(crowded.latencies(200))
    descriptors_after = descriptors(service)
    return CrowdResult(
        quiet, crowded, crowd.vanished, wasted, (descriptors_before, descriptors_after)
    )


def crowd_report(rounds: Sequence[CrowdResult]) -> Iterator[str]:
    """Report on crowds."""
    ratios = [
        percentile(result.crowded.latencies(200), 99) / percentile(result.quiet.latencies(200), 99)
        for result in rounds
    ]
    per_round = ", ".join(f"{ratio:.1f}" for ratio in ratios)
    floods = [flooded for result in rounds for flooded in (result.quiet, result.crowded)]
    lost = sum(
        flooded.wrong + len(flooded.answers) - len(flooded.latencies(200)) for flooded in floods
    )
    descriptor_pairs = ", ".join(f"{before} and {after}" for *_, (before, after) in rounds)
    yield (
        f"{RATE} small images a second beside {IDLE_CONNECTIONS:,} idle connections, "
        f"{SLOW_SENDERS} that send a byte a "
        f"second, of headers or a body, and clients that vanish in the middle of a photo; {ROUNDS} "
        f"× {CROWD_SECONDS:.0f} s, interleaved. **p99 beside the crowd: {median(ratios):.1f} × "
        "that "
        f"without** (round by round: {per_round}); not answered, or wrong: {lost}. Of "
        f"{sum(result.vanished for result in rounds)} that vanished, "
        f"{sum(result.wasted for result in rounds)} images were answered. Descriptors before and "
        f"after: {descriptor_pairs}."
    )


def answered_images(service: Service) -> int:
    """Count the images that were answered."""
    answered: int = service.get("/health/ready")["images"].get("answered", 0)
    return answered


def cpu_times() -> list[int]:
    """Read what the cores did since the system started, in ticks (proc(5), stat)."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]


def stolen_since(previous: list[int]) -> float:
    """Return the share of the cores' time that a hypervisor kept for others since then."""
    elapsed = [now - then for then, now in zip(previous, cpu_times(), strict=True)]
    return elapsed[7] / sum(elapsed)


def descriptors(service: Service) -> int:
    return sum(1 for _ in Path(f"/proc/{service.process.pid}/fd").iterdir())
