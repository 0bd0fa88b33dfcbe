"""Report of the benchmark: a row for each measurement, the ratios, and the versions compared."""

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Final

from bench.harness.wrk import Timed
from tests.rigs.load.closed_loop import NO_ANSWER, Pressed

LEVELS: Final = (1, 16, 64, 512)
# A peer, the number of connections, and the smallest ratio of the throughputs.
GOALS: Final = (
    ("naive FastAPI", 16, 5.5),
    ("mosec", 16, 2.8),
    ("mosec", 64, 1.8),
    ("mosec", 512, 1.25),
)
BEST_PEER_GOAL: Final = 2.8
LATENCY_GOAL: Final = 1.8  # of one connection, times that of bare uvicorn
Rounds = dict[int, list[Timed]]  # by the number of connections
LIBRARIES: Final = (
    *("fastapi", "starlette", "uvicorn", "httptools", "uvloop", "pillow", "torch"),
    *("granian", "robyn", "litserve", "mosec"),
)
HEAD: Final = (
    "| | 1 connection, requests/s (p50 ms) | 16 | 64 | 512 | p99 ms at 16 / 64 / 512 "
    "| not answered | a bad file is answered | good ones lost beside bad files |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def row(name: str, rounds: Rounds, mixed_load: Pressed | None) -> str:
    """Return a line of the table, of medians over the rounds."""
    single_rate, *other_rates = (f"{rate(rounds, level):,.0f}" for level in LEVELS)
    p50 = median(result.p50 for result in rounds[1])
    p99 = " / ".join(f"{p99_latency(rounds, level):.0f}" for level in LEVELS[1:])
    failed = sum(result.failed for level in LEVELS for result in rounds[level])
    cells = [
        name,
        f"{single_rate} ({p50:.2f})",
        *other_rates,
        p99,
        str(failed),
        *_bad_file_cells(mixed_load),
    ]
    return f"| {' | '.join(cells)} |"


def rate(rounds: Rounds, level: int) -> float:
    return median(result.rate for result in rounds[level])


def p99_latency(rounds: Rounds, level: int) -> float:
    """Return the 99th percentile, in milliseconds."""
    return median(result.p99 for result in rounds[level])


def ratios(ours: Rounds, peers: Mapping[str, Rounds], bare: Rounds) -> Iterator[str]:
    """Compare with the peers that took part and with bare uvicorn, each with its goal."""
    for name, level, goal in GOALS:
        if name in peers:
            yield _ratio(name, ours, peers[name], level, goal)
    if peers:
        best = max(peers, key=lambda name: rate(peers[name], 16))
        yield _ratio(f"the best peer, {best},", ours, peers[best], 16, BEST_PEER_GOAL)
    yield _latency_ratio(ours, bare)


def versions() -> str:
    return ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)


def _bad_file_cells(mixed_load: Pressed | None) -> tuple[str, str]:
    if mixed_load is None:
        return "–", "–"
    ((status, _),) = mixed_load.bad.most_common(1)
    if not mixed_load.lost:
        return _answer(status), "none"
    ((lost_status, _),) = mixed_load.refused.most_common(1)
    share = mixed_load.lost / (mixed_load.lost + len(mixed_load.latencies))
    return _answer(status), f"{100 * share:.1f} % ({_answer(lost_status)})"


def _answer(status: int) -> str:
    return "hung up" if status == NO_ANSWER else str(status)


def _ratio(name: str, ours: Rounds, theirs: Rounds, level: int, goal: float) -> str:
    round_ratios = [a.rate / b.rate for a, b in zip(ours[level], theirs[level], strict=True)]
    per_round = ", ".join(f"{ratio:.2f}" for ratio in round_ratios)
    return (
        f"**MyNet: {median(round_ratios):.2f} × {name}** at {level} connections "
        f"(round by round: {per_round}; goal: at least {goal} ×)."
    )


def _latency_ratio(ours: Rounds, bare: Rounds) -> str:
    round_ratios = [a.p50 / b.p50 for a, b in zip(ours[1], bare[1], strict=True)]
    per_round = ", ".join(f"{ratio:.2f}" for ratio in round_ratios)
    return (
        f"**p50 of one connection: {median(round_ratios):.2f} × bare uvicorn's** (round by round: "
        f"{per_round}; goal: at most {LATENCY_GOAL} ×)."
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
