"""Small images while photos come: a dozen 12-megapixel JPEGs in flight must not hold them up.

16 connections press `POST /predict` with MNIST images, with and without 12 more that press it with
photos, interleaved in one run. Every digit is compared, that of the photos, too.
"""

import threading
from collections.abc import Iterator
from statistics import median
from typing import Final

from bench.harness.services import mynet
from bench.harness.wrk import verify
from tests.rigs.load.closed_loop import Pressed, Request, press
from tests.rigs.load.photo import PHOTO_SIZE, photo
from tests.rigs.load.uploads import form, requests

SMALL_CONNECTIONS: Final = 16
PHOTO_CONNECTIONS: Final = 12
SECONDS: Final = 4.0
ROUNDS: Final = 5
MAX_RATIO: Final = 2


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    small = requests()
    jpeg, digit = photo()
    large = [Request(form(jpeg), digit)]
    with mynet() as server, server.resumed():
        rounds = [
            (
                verify(press(server.port, small, SMALL_CONNECTIONS, SECONDS)),
                *press_both(server.port, small, large),
            )
            for _ in range(ROUNDS)
        ]
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
    yield line("small images alone", [quiet for quiet, _, _ in rounds])
    yield line("small images beside photos", [busy for _, busy, _ in rounds])
    yield line("the photos", [photos for _, _, photos in rounds])
    yield ""
    round_ratios = [busy.percentile(99) / quiet.percentile(99) for quiet, busy, _ in rounds]
    per_round = ", ".join(f"{ratio:.1f}" for ratio in round_ratios)
    yield (
        f"**p99 of small images beside photos: {median(round_ratios):.1f} × that without** "
        f"(round by round: {per_round}; goal: at most {MAX_RATIO} ×)."
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
