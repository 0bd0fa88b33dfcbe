"""Small images while photos come: a dozen 12-megapixel JPEGs in flight must not hold them up.

16 connections press `POST /predict` with MNIST images, with and without 12 more that press it with
photos, interleaved in one run. Every digit is compared, that of the photos, too. If `BENCH_BEFORE`
names another checkout of MyNet, its service is measured in the same rounds.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Final, NamedTuple

from bench.harness.services import Server, mynet
from bench.harness.wrk import verify
from tests.rigs.load.closed_loop import Pressed, Request, press
from tests.rigs.load.photo import PHOTO_SIZE, photo
from tests.rigs.load.uploads import form, requests

SMALL_CONNECTIONS: Final = 16
PHOTO_CONNECTIONS: Final = 12
SECONDS: Final = 4.0
ROUNDS: Final = 5
MAX_RATIO: Final = 1.2
MIN_PHOTO_RATIO: Final = 1.5
BEFORE: Final = "BENCH_BEFORE"


class Round(NamedTuple):
    """Small images alone, small images beside photos, and these photos."""

    quiet: Pressed
    busy: Pressed
    photos: Pressed

    @property
    def ratio(self) -> float:
        return self.busy.percentile(99) / self.quiet.percentile(99)


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    jpeg, digit = photo()
    large = [Request(form(jpeg), digit)]
    sides: dict[str, list[Round]] = {}
    with ExitStack() as stack:
        servers = {"now": stack.enter_context(mynet())}
        if before := os.environ.get(BEFORE):
            with _code_of(before):
                servers["before"] = stack.enter_context(mynet())
        for _ in range(ROUNDS):
            for name, server in servers.items():
                sides.setdefault(name, []).append(_measure(server, requests(), large))
    yield "## Small images beside photos (`python -m bench fair`)"
    yield ""
    yield (
        f"{SMALL_CONNECTIONS} connections press `POST /predict` with MNIST images, "
        f"{PHOTO_CONNECTIONS} more with a JPEG of {PHOTO_SIZE[0] * PHOTO_SIZE[1] / 1e6:.0f} "
        f"megapixels ({len(jpeg) / 1e6:.1f} MB); {ROUNDS} × {SECONDS:.0f} s each, interleaved. "
        "Every digit is compared."
    )
    yield ""
    yield "| | requests/s | p50 ms | p99 ms | not answered |"
    yield "|---|---|---|---|---|"
    for name, rounds in sides.items():
        suffix = f", {name}" if len(sides) > 1 else ""
        yield line(f"small images alone{suffix}", [r.quiet for r in rounds])
        yield line(f"small images beside photos{suffix}", [r.busy for r in rounds])
        yield line(f"the photos{suffix}", [r.photos for r in rounds])
    yield ""
    yield from _conclusions(sides)


def _measure(server: Server, small: list[Request], large: list[Request]) -> Round:
    with server.resumed():
        quiet = verify(press(server.port, small, SMALL_CONNECTIONS, SECONDS))
        return Round(quiet, *press_both(server.port, small, large))


@contextmanager
def _code_of(checkout: str) -> Iterator[None]:
    """Make services that start now run the code of another checkout."""
    own = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{checkout}:{checkout}/client/src"
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if own is not None:
            os.environ["PYTHONPATH"] = own


def _conclusions(sides: dict[str, list[Round]]) -> Iterator[str]:
    now, before = sides["now"], sides.get("before")
    yield (
        f"**p99 of small images beside photos: {median(r.ratio for r in now):.1f} × that without** "
        f"(round by round: {', '.join(f'{r.ratio:.1f}' for r in now)}; "
        f"goal: at most {MAX_RATIO} ×)."
    )
    if before:
        ratios = [a.photos.rate / b.photos.rate for a, b in zip(now, before, strict=True)]
        yield ""
        yield (
            f"**Photos a second: {median(ratios):.1f} × those before** (round by round: "
            f"{', '.join(f'{ratio:.1f}' for ratio in ratios)}; goal: at least "
            f"{MIN_PHOTO_RATIO} ×). Before, p99 of small images was "
            f"{median(r.ratio for r in before):.1f} × that without."
        )


def press_both(port: int, small: list[Request], large: list[Request]) -> tuple[Pressed, Pressed]:
    """Press with both at once."""
    photos: list[Pressed] = []
    thread = threading.Thread(
        target=lambda: photos.append(press(port, large, PHOTO_CONNECTIONS, SECONDS))
    )
    thread.start()
    pressed = press(port, small, SMALL_CONNECTIONS, SECONDS)
    thread.join()
    return verify(pressed), verify(photos[0])


def line(label: str, phases: list[Pressed]) -> str:
    """Return a line of the table, medians over the rounds."""
    rate = median(phase.rate for phase in phases)
    p50, p99 = (median(phase.percentile(p) for phase in phases) for p in (50, 99))
    return (
        f"| {label} | {rate:,.0f} | {p50:.1f} | {p99:.1f} | {sum(phase.lost for phase in phases)} |"
    )
