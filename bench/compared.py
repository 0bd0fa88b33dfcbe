"""The report's words on what was measured: a row for each, the ratios, and who it was.

What enters: rates and latencies, round by round. What leaves: lines. This module measures nothing.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Final

from bench.press import NO_ANSWER, Pressed
from bench.timed import Timed

LEVELS: Final = (1, 16, 64, 512)
Rounds = dict[int, list[Timed]]  # by the number of connections
LIBRARIES: Final = (
    *("fastapi", "starlette", "uvicorn", "httptools", "uvloop", "pillow", "torch"),
    *("litserve", "mosec"),
)
HEAD: Final = (
    "| | 1 connection, requests/s (p50 ms) | 16 | 64 | 512 | p99 ms at 16 / 64 / 512 "
    "| not answered | a bad file is answered | good ones lost beside bad files |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def row(name: str, rounds: Rounds, beside: Pressed | None) -> str:
    """Give a line of the table, of medians over the rounds."""
    alone, *more = (f"{rate(rounds, level):,.0f}" for level in LEVELS)
    p50 = median(each.p50 for each in rounds[1])
    p99 = " / ".join(f"{late(rounds, level):.0f}" for level in LEVELS[1:])
    failed = sum(each.failed for level in LEVELS for each in rounds[level])
    cells = [name, f"{alone} ({p50:.2f})", *more, p99, str(failed), *_harm(beside)]
    return f"| {' | '.join(cells)} |"


def rate(rounds: Rounds, level: int) -> float:
    return median(each.rate for each in rounds[level])


def late(rounds: Rounds, level: int) -> float:
    """Give the 99th percentile, in milliseconds."""
    return median(each.p99 for each in rounds[level])


def ratios(ours: Rounds, peers: Mapping[str, Rounds]) -> Iterator[str]:
    """Compare as far as peers stand, each with its goal."""
    if naive := peers.get("naive FastAPI"):
        yield _ratio("naive FastAPI", ours, naive, 16, 4)
    if peers:
        best = max(peers, key=lambda name: rate(peers[name], 16))
        yield _ratio(f"the best peer, {best},", ours, peers[best], 16, 2)
    if mosec := peers.get("mosec"):
        yield _ratio("mosec", ours, mosec, 64, 1.1)


def versions() -> str:
    return ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)


def _harm(beside: Pressed | None) -> tuple[str, str]:
    if beside is None:
        return "–", "–"
    ((status, _),) = beside.bad.most_common(1)
    if not beside.lost:
        return _answer(status), "none"
    ((instead, _),) = beside.refused.most_common(1)
    share = beside.lost / (beside.lost + len(beside.latencies))
    return _answer(status), f"{100 * share:.1f} % ({_answer(instead)})"


def _answer(status: int) -> str:
    return "hung up" if status == NO_ANSWER else str(status)


def _ratio(name: str, ours: Rounds, theirs: Rounds, level: int, goal: float) -> str:
    each = [a.rate / b.rate for a, b in zip(ours[level], theirs[level], strict=True)]
    shown = ", ".join(f"{one:.2f}" for one in each)
    return (
        f"**MyNet: {median(each):.2f} × {name}** at {level} connections "
        f"(round by round: {shown}; goal: at least {goal} ×)."
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
