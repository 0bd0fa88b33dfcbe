"""Swaps and rollbacks under load: no request fails, and every answer is of the version it names.

64 connections press `POST /predict`, without and with swaps (`PUT /models/current`,
`POST /models/rollback`) between three versions, interleaved in one run. What each version answers
for each image is computed beforehand, and every answer is compared. Then four workers follow
promotions, each request over a connection of its own, so that every worker gets some.
"""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from bench.load import failed, percentile, run
from bench.lookalikes import Known, make, mistaken
from bench.swapping import Phase, press, swap
from tests.service.running import comes_true, serving

CONNECTIONS: Final = 64
ROUNDS: Final = 5
SWAPS: Final = 40
EVERY: Final = 0.15
MOST_P999: Final = 3
WORKERS: Final = 4
PROMOTIONS: Final = 12
SLOWLY: Final = 2.0
MOST_SECONDS: Final = 1


def main() -> Iterator[str]:
    """Measure, and give the lines of the report."""
    with TemporaryDirectory() as folder:
        state = Path(folder) / "var"
        known = make(state)
        with serving(state) as service:
            rounds = [measure_round(service.port, known) for _ in range(ROUNDS)]
        with serving(state, workers=WORKERS) as service:
            assert comes_true(lambda: service.went_live == WORKERS)
            swapping = swap(service.port, PROMOTIONS, SLOWLY)
            followed = run(press(service.port, known, CONNECTIONS, swapping, kept=False))
            seen = service.went_live - WORKERS
            service.end()
    yield "## Swaps under load (`python -m bench swaps`)"
    yield ""
    yield (
        f"{CONNECTIONS} connections press `POST /predict`; {ROUNDS} rounds, interleaved. Every "
        "answer is compared with what the version that it names answers for that image."
    )
    yield ""
    yield "| | p50 ms | p99.9 ms | requests | failed | not of the version named |"
    yield "|---|---|---|---|---|---|"
    yield line("no swaps", [quiet for quiet, _ in rounds], known)
    yield line(f"{ROUNDS * SWAPS} swaps and rollbacks", [busy for _, busy in rounds], known)
    yield line(f"{WORKERS} workers, {PROMOTIONS} swaps and rollbacks", [followed], known)
    yield ""
    yield ratio(rounds)
    yield ""
    refused = sum(busy.not_swapped for _, busy in rounds) + followed.not_swapped
    stale = sum(busy.out_of_date for _, busy in rounds)
    yield (
        f"Swaps that failed or went live with another version: {refused}. Answers of one process "
        f"by a version that was not live any more when they were asked for: {stale}."
    )
    yield ""
    yield (
        f"With {WORKERS} workers, the last answer of an older version came "
        f"**{followed.slowest:.2f} s** after a swap was answered (goal: at most {MOST_SECONDS} s); "
        f"the workers went live {seen} times, of {WORKERS * PROMOTIONS}."
    )


def measure_round(port: int, known: Known) -> tuple[Phase, Phase]:
    """Load with swaps, and for as long without."""
    busy = run(press(port, known, CONNECTIONS, swap(port, SWAPS, EVERY)))
    seconds = busy.swaps[-1].answered - busy.swaps[0].asked
    return run(press(port, known, CONNECTIONS, asyncio.sleep(seconds))), busy


def line(label: str, phases: Sequence[Phase], known: Known) -> str:
    """Give a line of the table."""
    sent = [each for phase in phases for each in phase.exchanges]
    p50, p999 = (f"{percentile(sent, percent):.0f}" for percent in (50, 99.9))
    counts = f"{len(sent)} | {failed(sent)} | {mistaken(sent, known)}"
    return f"| {label} | {p50} | {p999} | {counts} |"


def ratio(rounds: Sequence[tuple[Phase, Phase]]) -> str:
    """Say what swaps cost."""
    each = [
        percentile(busy.exchanges, 99.9) / percentile(quiet.exchanges, 99.9)
        for quiet, busy in rounds
    ]
    shown = ", ".join(f"{one:.1f}" for one in each)
    return (
        f"**p99.9 with swaps: {median(each):.1f} × that without** (round by round: {shown}; "
        f"goal: at most {MOST_P999} ×)."
    )
