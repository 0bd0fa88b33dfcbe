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

from tests.rigs.load.http_load import failed, percentile, run
from tests.rigs.swaps.distinct_versions import ReferenceAnswers, count_mismatches, make
from tests.rigs.swaps.swapping import Phase, press, swap
from tests.service.running import run_service, wait_until

CONNECTIONS: Final = 64
ROUNDS: Final = 5
SWAPS: Final = 40
SWAP_INTERVAL: Final = 0.15
MAX_P999_RATIO: Final = 3
WORKERS: Final = 4
PROMOTIONS: Final = 12
SLOW_INTERVAL: Final = 2.0
MAX_SECONDS: Final = 1


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    with TemporaryDirectory() as folder:
        state = Path(folder) / "var"
        reference = make(state)
        with run_service(state) as service:
            rounds = [measure_round(service.port, reference) for _ in range(ROUNDS)]
        with run_service(state, workers=WORKERS) as service:
            assert wait_until(lambda: service.went_live == WORKERS)
            swapping = swap(service.port, PROMOTIONS, SLOW_INTERVAL)
            followed = run(press(service.port, reference, CONNECTIONS, swapping, keep_alive=False))
            live_count = service.went_live - WORKERS
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
    yield line("no swaps", [quiet for quiet, _ in rounds], reference)
    yield line(f"{ROUNDS * SWAPS} swaps and rollbacks", [busy for _, busy in rounds], reference)
    yield line(f"{WORKERS} workers, {PROMOTIONS} swaps and rollbacks", [followed], reference)
    yield ""
    yield ratio(rounds)
    yield ""
    failed_swaps = sum(busy.not_swapped for _, busy in rounds) + followed.not_swapped
    stale = sum(busy.out_of_date for _, busy in rounds)
    yield (
        f"Swaps that failed or went live with another version: {failed_swaps}. Answers of one "
        "process "
        f"by a version that was not live any more when they were asked for: {stale}."
    )
    yield ""
    yield (
        f"With {WORKERS} workers, the last answer of an older version came "
        f"**{followed.slowest:.2f} s** after a swap was answered (goal: at most {MAX_SECONDS} s); "
        f"the workers went live {live_count} times, of {WORKERS * PROMOTIONS}."
    )


def measure_round(port: int, reference: ReferenceAnswers) -> tuple[Phase, Phase]:
    """Load with swaps, and for as long without."""
    busy = run(press(port, reference, CONNECTIONS, swap(port, SWAPS, SWAP_INTERVAL)))
    seconds = busy.swaps[-1].answered_at - busy.swaps[0].requested_at
    return run(press(port, reference, CONNECTIONS, asyncio.sleep(seconds))), busy


def line(label: str, phases: Sequence[Phase], reference: ReferenceAnswers) -> str:
    """Return a line of the table."""
    exchanges = [exchange for phase in phases for exchange in phase.exchanges]
    p50, p999 = (f"{percentile(exchanges, percent):.0f}" for percent in (50, 99.9))
    counts = f"{len(exchanges)} | {failed(exchanges)} | {count_mismatches(exchanges, reference)}"
    return f"| {label} | {p50} | {p999} | {counts} |"


def ratio(rounds: Sequence[tuple[Phase, Phase]]) -> str:
    """Return what swaps cost."""
    round_ratios = [
        percentile(busy.exchanges, 99.9) / percentile(quiet.exchanges, 99.9)
        for quiet, busy in rounds
    ]
    per_round = ", ".join(f"{value:.1f}" for value in round_ratios)
    return (
        f"**p99.9 with swaps: {median(round_ratios):.1f} × that without** (round by round: "
        f"{per_round}; "
        f"goal: at most {MAX_P999_RATIO} ×)."
    )
