"""Ten times what the service can serve, and a crowd that nobody is to notice.

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

from bench.crowd import IDLE, SLOW, Crowd
from bench.digits import requests, whole
from bench.fair import photo
from bench.flood import Flooded, begin, flood, percentile
from bench.memory import resident
from bench.press import Request, press, press_all
from tests.service.running import Service, serving

SECONDS: Final = float(os.environ.get("BENCH_SECONDS", "300"))
TIMES: Final = 10
TOGETHER: Final = 4
REDUCED: Final = 4
MOST_OVER: Final = 1.2
MOST_REFUSAL: Final = 0.05
MOST_RECOVERY: Final = 2
ROUNDS: Final = 3
RATE: Final = 200
BESIDE: Final = 12.0


class Overload(NamedTuple):
    """What one flood did: answers, megabytes and descriptors before, meanwhile and after; and what
    share of the cores other machines on the same hardware took.
    """

    capacity: float
    flooded: Flooded
    recovered: float
    seconds: float
    stolen: float
    memory: list[float]
    descriptors: tuple[int, int]


def main() -> Iterator[str]:
    """Measure, and give the lines of the report."""
    jpeg, digit = photo(REDUCED)
    with TemporaryDirectory() as folder, serving(Path(folder) / "var") as service:
        over = overload(service, Request(whole(jpeg), digit))
    with TemporaryDirectory() as folder, serving(Path(folder) / "var") as service:
        rounds = [beside_crowd(service, jpeg) for _ in range(ROUNDS)]
    yield "## Overload (`python -m bench overload`)"
    yield ""
    yield "Measured on two cores that the load and other work shared."
    yield ""
    yield from told(over, len(jpeg))
    yield ""
    yield from noticed(rounds)


def overload(service: Service, request: Request) -> Overload:
    """Measure what can be served, offer ten times as much, and see how it was."""
    press(service.port, [request], TOGETHER, 3)  # memory and the mean of times settle
    capacity = press(service.port, [request], TOGETHER, 5).rate
    calm = press(service.port, [request], 1, 3).percentile(99)
    before, memory = descriptors(service), [resident(service.process.pid)]
    times = cpu_times()
    coming = begin(flood_until_calm, service.port, request, TIMES * capacity, SECONDS, 2 * calm)
    while not coming.done():
        time.sleep(1)
        memory.append(resident(service.process.pid))
    stolen = stolen_since(times)
    time.sleep(6)  # connections that wait for nothing are let go after five seconds
    memory.append(resident(service.process.pid))
    left = before, descriptors(service)
    return Overload(capacity, *coming.result(), SECONDS, stolen, memory, left)


def flood_until_calm(
    port: int, request: Request, rate: float, seconds: float, calm: float
) -> tuple[Flooded, float]:
    """Flood, then ask on until an answer takes so many milliseconds at most: in how many seconds?

    In the process that floods, which need not hand over its answers first.
    """
    flooded = flood(port, [request], rate, seconds)
    while not press_all(port, [request], 1).percentile(100) <= calm:
        time.sleep(0.01)
    return flooded, time.perf_counter() - flooded.ended


def told(over: Overload, size: int) -> Iterator[str]:
    """Report on an overload."""
    answered, refused = over.flooded.of(200), over.flooded.of(429)
    seconds = over.flooded.each_second(200)
    full, slowest, refusal = median(answered), percentile(answered, 99), percentile(refused, 99)
    yield (
        f"Photos of {size // 1000} kB, of which {over.capacity:.0f} a second can be read, offered "
        f"at {TIMES} times that rate for {over.seconds:.0f} s. {len(answered) / over.seconds:.0f} "
        f"a second were answered, {min(seconds)} in the slowest second and {max(seconds)} in the "
        f"quickest, after a median of {full:.2f} s: so long takes a full queue. Other machines on "
        f"the same hardware took {100 * over.stolen:.0f} % of the cores (steal)."
    )
    yield ""
    yield "| | count | p50 ms | p99 ms | goal |"
    yield "|---|---|---|---|---|"
    goals = f"≤ {1000 * MOST_OVER * full:.0f}", f"≤ {1000 * MOST_REFUSAL:.0f}"
    for label, took, goal in zip(("answered", "`429`"), (answered, refused), goals, strict=True):
        p50, p99 = (f"{1000 * percentile(took, percent):.0f}" for percent in (50, 99))
        yield f"| {label} | {len(took)} | {p50} | {p99} | {goal} |"
    yield ""
    yield (
        f"p99 of what was answered: **{slowest / full:.2f} × a full queue** (goal: at most "
        f"{MOST_OVER} ×); of refusals: **{1000 * refusal:.0f} ms** (goal: at most "
        f"{1000 * MOST_REFUSAL:.0f} ms). Wrong answers: {over.flooded.wrong}; "
        f"accepted and then too late (`504`): {len(over.flooded.of(504))}; neither answered nor "
        f"refused: {over.flooded.others}. As quick as before (twice the calm "
        f"p99) **{over.recovered:.1f} s** after the end (goal: at most {MOST_RECOVERY} s)."
    )
    yield ""
    third = len(over.memory) // 3
    yield (
        f"Resident memory: {over.memory[0]:.0f} MB before, at most {max(over.memory):.0f} MB, "
        f"median of the first third {median(over.memory[1 : third + 2]):.0f} MB, of the last "
        f"{median(over.memory[-third - 1 :]):.0f} MB, {over.memory[-1]:.0f} MB after. Descriptors: "
        f"{over.descriptors[0]} before, {over.descriptors[1]} after."
    )


class Beside(NamedTuple):
    """A steady load without and with a crowd, and what became of the crowd."""

    alone: Flooded
    crowded: Flooded
    vanished: int
    worked_for: int
    descriptors: tuple[int, int]


def beside_crowd(service: Service, jpeg: bytes) -> Beside:
    """Ask steadily, alone and beside a crowd."""
    before = descriptors(service)
    small = requests()
    alone = begin(flood, service.port, small, RATE, BESIDE).result()
    images = sum_of(service)
    with Crowd(service.port, jpeg) as crowd:
        crowded = begin(flood, service.port, small, RATE, BESIDE).result()
    time.sleep(6)
    worked_for = sum_of(service) - images - len(crowded.of(200))
    after = descriptors(service)
    return Beside(alone, crowded, crowd.vanished, worked_for, (before, after))


def noticed(rounds: Sequence[Beside]) -> Iterator[str]:
    """Report on crowds."""
    ratios = [
        percentile(each.crowded.of(200), 99) / percentile(each.alone.of(200), 99) for each in rounds
    ]
    shown = ", ".join(f"{one:.1f}" for one in ratios)
    every = [flooded for each in rounds for flooded in (each.alone, each.crowded)]
    lost = sum(flooded.wrong + len(flooded.answers) - len(flooded.of(200)) for flooded in every)
    left = ", ".join(f"{before} and {after}" for *_, (before, after) in rounds)
    yield (
        f"{RATE} small images a second beside {IDLE:,} idle connections, {SLOW} that send a byte a "
        f"second, of headers or a body, and clients that vanish in the middle of a photo; {ROUNDS} "
        f"× {BESIDE:.0f} s, interleaved. **p99 beside the crowd: {median(ratios):.1f} × that "
        f"without** (round by round: {shown}); not answered, or wrong: {lost}. Of "
        f"{sum(each.vanished for each in rounds)} that vanished, "
        f"{sum(each.worked_for for each in rounds)} images were answered. Descriptors before and "
        f"after: {left}."
    )


def sum_of(service: Service) -> int:
    """Count the images that were answered."""
    answered: int = service.get("/health/ready")["images"].get("answered", 0)
    return answered


def cpu_times() -> list[int]:
    """Read what the cores did since the system started, in ticks (proc(5), stat)."""
    return [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]


def stolen_since(before: list[int]) -> float:
    """Give the share of the cores' time that a hypervisor kept for others since then."""
    passed = [now - then for then, now in zip(before, cpu_times(), strict=True)]
    return passed[7] / sum(passed)


def descriptors(service: Service) -> int:
    return sum(1 for _ in Path(f"/proc/{service.process.pid}/fd").iterdir())
