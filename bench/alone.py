"""What MyNet does on its own: two workers beside one, and many images in one request.

What enters: images and their digits. What leaves: the lines of the report. This module does not
know of peers.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final

from bench.digits import batch
from bench.press import Request
from bench.standing import Standing, mynet
from bench.timed import Timed, WrongDigit, timed

CONNECTIONS: Final = 64
WORKERS: Final = 2
FILES: Final = 256


def scaling(requests: Sequence[Request], rounds: int, seconds: float) -> Iterator[str]:
    """Press one worker and two, in turn."""
    with mynet() as one, mynet(WORKERS) as two:
        measured = [
            [_pressed(each, requests, seconds) for each in (one, two)] for _ in range(rounds)
        ]
    single, double = (median(each.rate for each in row) for row in zip(*measured, strict=True))
    ratios = [second.rate / first.rate for first, second in measured]
    failed = sum(each.failed for row in measured for each in row)
    shown = ", ".join(f"{each:.2f}" for each in ratios)
    yield (
        f"**{WORKERS} workers: {median(ratios):.2f} × one** at {CONNECTIONS} connections (round by "
        f"round: {shown}): {double:,.0f} requests a second after {single:,.0f}; not answered: "
        f"{failed}. The load and the workers share the machine's {os.cpu_count()} cores, so that "
        "this says what is left of a second core, not what a second core gives."
    )


def batches(uploads: Sequence[bytes], digits: Sequence[int], seconds: float) -> Iterator[str]:
    """Send many images in each request, over one connection."""
    request, expected = batch(uploads[:FILES]), list(digits[:FILES])
    with mynet() as standing, standing.awake():
        _exchange(standing.port, request, expected, 1)
        before = cpu_seconds(standing.group)
        images, took = _exchange(standing.port, request, expected, seconds)
        after = cpu_seconds(standing.group)
    line = f"`POST /predict/batch`, {FILES} files a request, one connection: "
    line += f"**{images / took:,.0f} images a second**, each digit compared"
    if before is None or after is None:
        yield f"{line}. The CPU time of another process is not told here."
    else:
        each = (after - before) / images
        yield f"{line}; {1e6 * each:.0f} µs of CPU an image: **{1 / each:,.0f} a second a core**."


def cpu_seconds(pid: int) -> float | None:
    """Give the CPU seconds that a process has used, all threads together, where Linux tells."""
    file = Path(f"/proc/{pid}/stat")
    if not file.exists():
        return None
    user, system = file.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _pressed(standing: Standing, requests: Sequence[Request], seconds: float) -> Timed:
    with standing.awake():
        return timed(standing.port, requests, CONNECTIONS, seconds)


def _exchange(
    port: int, request: bytes, expected: Sequence[int], seconds: float
) -> tuple[int, float]:
    """Give how many images were answered, and the seconds until they were. Raises WrongDigit."""
    images, took = 0, 0.0
    head, _, body = request.partition(b"\r\n\r\n")
    kind = head.rpartition(b": ")[2].decode()
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        while took < seconds:
            started = time.perf_counter()
            connection.request("POST", "/predict/batch", body, {"Content-Type": kind})
            content = connection.getresponse().read()
            took += time.perf_counter() - started
            given = [each.get("digit") for each in json.loads(content)["predictions"]]
            if given != expected:
                raise WrongDigit(f"{given} in a batch, not {expected}")
            images += len(given)
    return images, took
