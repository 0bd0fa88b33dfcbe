"""Benchmark of MyNet alone: two workers compared with one, and many images in one request."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final

from bench.harness.services import Server, mynet
from bench.harness.wrk import Timed, WrongDigit, time_load
from tests.rigs.load.closed_loop import Request
from tests.rigs.load.uploads import batch

CONNECTIONS: Final = 64
WORKERS: Final = 2
FILES: Final = 256


def scaling(requests: Sequence[Request], rounds: int, seconds: float) -> Iterator[str]:
    """Press one worker and two, in turn."""
    with mynet() as one, mynet(WORKERS) as two:
        measured = [
            [_measure(server, requests, seconds) for server in (one, two)] for _ in range(rounds)
        ]
    single, double = (median(result.rate for result in row) for row in zip(*measured, strict=True))
    ratios = [second.rate / first.rate for first, second in measured]
    failed = sum(result.failed for row in measured for result in row)
    per_round = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    yield (
        f"**{WORKERS} workers: {median(ratios):.2f} × one** at {CONNECTIONS} connections (round by "
        f"round: {per_round}): {double:,.0f} requests a second after {single:,.0f}; not answered: "
        f"{failed}. The load and the workers share the machine's {os.cpu_count()} cores, so that "
        "this says what is left of a second core, not what a second core gives."
    )


def batches(uploads: Sequence[bytes], digits: Sequence[int], seconds: float) -> Iterator[str]:
    """Send many images in each request, over one connection."""
    request, expected = batch(uploads[:FILES]), list(digits[:FILES])
    with mynet() as server, server.resumed():
        _exchange(server.port, request, expected, 1)
        cpu_before = cpu_seconds(server.group)
        images, elapsed = _exchange(server.port, request, expected, seconds)
        cpu_after = cpu_seconds(server.group)
    line = f"`POST /predict/batch`, {FILES} files a request, one connection: "
    line += f"**{images / elapsed:,.0f} images a second**, each digit compared"
    if cpu_before is None or cpu_after is None:
        yield f"{line}. The CPU time of another process is not told here."
    else:
        cpu_per_image = (cpu_after - cpu_before) / images
        yield (
            f"{line}; {1e6 * cpu_per_image:.0f} µs of CPU an image: **{1 / cpu_per_image:,.0f} a "
            "second a core**."
        )


def cpu_seconds(pid: int) -> float | None:
    """Return the CPU seconds that a process has used, all threads together, where Linux tells."""
    file = Path(f"/proc/{pid}/stat")
    if not file.exists():
        return None
    user, system = file.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _measure(server: Server, requests: Sequence[Request], seconds: float) -> Timed:
    with server.resumed():
        return time_load(server.port, requests, CONNECTIONS, seconds)


def _exchange(
    port: int, request: bytes, expected: Sequence[int], seconds: float
) -> tuple[int, float]:
    """Return how many images were answered, and the seconds until they were. Raises WrongDigit."""
    images, elapsed = 0, 0.0
    head, _, body = request.partition(b"\r\n\r\n")
    content_type = head.rpartition(b": ")[2].decode()
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        while elapsed < seconds:
            started = time.perf_counter()
            connection.request("POST", "/predict/batch", body, {"Content-Type": content_type})
            content = connection.getresponse().read()
            elapsed += time.perf_counter() - started
            digits = [prediction.get("digit") for prediction in json.loads(content)["predictions"]]
            if digits != expected:
                raise WrongDigit(f"{digits} in a batch, not {expected}")
            images += len(digits)
    return images, elapsed
