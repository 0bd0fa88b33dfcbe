"""Benchmark of MyNet alone: a second worker, and many images in one request."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import numpy as np

from app.train.recipes.dataset import load as load_mnist
from bench.harness.services import Server, mynet
from bench.harness.wrk import Timed, WrongDigit, time_load
from tests.conftest import DATA
from tests.rigs.load.closed_loop import Request
from tests.rigs.load.uploads import batch

CONNECTIONS: Final = 64
WORKERS: Final = 2
FILES: Final = 256
# Images a second a core.
BATCH_GOAL: Final = 20_000
TENSOR_GOAL: Final = 90_000
LENGTH_HEADER: Final = "Inference-Header-Content-Length"


class Load(NamedTuple):
    """A request that is sent over and over, and how its answer names the digits."""

    path: str
    headers: dict[str, str]
    body: bytes
    expected: list[int]
    digits_of: Callable[[HTTPResponse, bytes], list[int]]


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
    head, _, body = batch(uploads[:FILES]).partition(b"\r\n\r\n")
    headers = {"Content-Type": head.rpartition(b": ")[2].decode()}
    load = Load("/predict/batch", headers, body, list(digits[:FILES]), _digits_of_predictions)
    name = f"`POST /predict/batch`, {FILES} files a request, one connection"
    yield _measure_images(name, load, seconds, BATCH_GOAL)


def tensors(digits: Sequence[int], seconds: float) -> Iterator[str]:
    """Send many images as one binary tensor in each request, over one connection."""
    pixels = load_mnist(DATA).test.pixels[:FILES].numpy()
    tensor = {"name": "image", "shape": list(pixels.shape), "datatype": "UINT8"}
    tensor["parameters"] = {"binary_data_size": pixels.nbytes}
    request = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    document = json.dumps(request).encode()
    headers = {LENGTH_HEADER: str(len(document))}
    path, expected = "/v2/models/mynet/infer", list(digits[:FILES])
    load = Load(path, headers, document + pixels.tobytes(), expected, _digits_of_tensors)
    name = f"`POST {path}`, a binary tensor of {FILES} images a request, one connection"
    yield _measure_images(name, load, seconds, TENSOR_GOAL)


def _measure_images(name: str, load: Load, seconds: float, goal: int) -> str:
    with mynet() as server, server.resumed():
        _exchange(server.port, load, 1)
        cpu_before = cpu_seconds(server.group)
        images, elapsed = _exchange(server.port, load, seconds)
        cpu_after = cpu_seconds(server.group)
    line = f"{name}: **{images / elapsed:,.0f} images a second**, each digit compared"
    if cpu_before is None or cpu_after is None:
        return f"{line}. The CPU time of another process is not available here."
    cpu_per_image = (cpu_after - cpu_before) / images
    return (
        f"{line}; {1e6 * cpu_per_image:.1f} µs of CPU an image: **{1 / cpu_per_image:,.0f} a "
        f"second a core** (goal: at least {goal:,})."
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


def _exchange(port: int, load: Load, seconds: float) -> tuple[int, float]:
    """Return how many images were answered, and the seconds until they were. Raises WrongDigit."""
    images, elapsed = 0, 0.0
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        while elapsed < seconds:
            started = time.perf_counter()
            connection.request("POST", load.path, load.body, load.headers)
            response = connection.getresponse()
            content = response.read()
            elapsed += time.perf_counter() - started
            digits = load.digits_of(response, content)
            if digits != load.expected:
                raise WrongDigit(f"{digits} in a batch, not {load.expected}")
            images += len(digits)
    return images, elapsed


def _digits_of_predictions(_: HTTPResponse, content: bytes) -> list[int]:
    return [prediction.get("digit") for prediction in json.loads(content)["predictions"]]


def _digits_of_tensors(response: HTTPResponse, content: bytes) -> list[int]:
    """Return the first tensor, INT64, which follows the JSON."""
    start = int(response.headers[LENGTH_HEADER])
    digits: list[int] = np.frombuffer(content, "<i8", FILES, start).tolist()
    return digits
