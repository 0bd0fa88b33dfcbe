"""`POST /predict` beside peers that answer the same digits with the same weights.

All stand at once and are measured in turn, at 1, 16, 64 and 512 connections, round by round. Before
each phase every answer is compared with what the weights see in the image. Then one request in
eleven is no image: how many good ones does it take along?
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

from bench.harness import plots
from bench.harness.report import HEAD, LEVELS, Rounds, ratios, row, versions
from bench.harness.services import BARE, PEERS, Server, is_installed, mynet, start_peer
from bench.harness.wrk import generator, time_load, verify
from bench.predictions import single_and_batch
from tests.rigs.load.closed_loop import Pressed, Request, press_all
from tests.rigs.load.uploads import NO_IMAGE, form, images, with_bad

SECONDS: Final = float(os.environ.get("BENCH_SECONDS", "3"))
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "2"))
BAD_FILE_CONNECTIONS: Final = 64
BAD_FILE_ROUNDS: Final = 10


class Contender(NamedTuple):
    """A service in the comparison, the requests that it gets, and one that is not an image."""

    server: Server
    requests: Sequence[Request]
    bad: Request


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    uploads, digits = images()
    with ExitStack() as stack:
        contenders = list(start_contenders(stack, uploads, digits))
        measured = measure(contenders)
        mixed_loads = {
            contender.server.name: press_with_bad(contender) for contender in contenders[:-1]
        }
    yield "## Predictions beside peers (`python -m bench predict`)"
    yield ""
    yield describe(uploads)
    yield ""
    yield HEAD
    for name, rounds in measured.items():
        yield row(name, rounds, mixed_loads.get(name))
    for line in conclude(measured, contenders[0].requests):
        yield ""
        yield line
    for line in (
        *single_and_batch.batches(uploads, digits, SECONDS),
        *single_and_batch.tensors(digits, SECONDS),
        plots.draw(measured),
    ):
        yield ""
        yield line
    yield ""
    yield f"Versions: {versions()}."


def describe(uploads: Sequence[bytes]) -> str:
    """Return what was done."""
    sizes = sorted(map(len, uploads))
    return (
        f"`POST /predict`, {len(uploads):,} different MNIST images of {sizes[0]} to {sizes[-1]} "
        "bytes, the same weights, one worker and one thread of torch each; "
        f"{ROUNDS} × {SECONDS:.0f} s for each cell, interleaved, medians. The load and the "
        "service share the cores. LitServe and mosec are two processes each, one that listens and "
        f"one that predicts. Load: {generator()}. Beside bad files: one in eleven of "
        f"{11 * len(uploads):,} requests over {BAD_FILE_CONNECTIONS} connections is no image."
    )


def conclude(measured: Mapping[str, Rounds], requests: Sequence[Request]) -> Iterator[str]:
    """Compare with the peers, say which of them are missing, and with one's own second worker."""
    peers = {peer.name: measured[peer.name] for peer in PEERS if peer.name in measured}
    yield from ratios(measured["MyNet"], peers, measured[BARE.name])
    for peer in PEERS:
        if peer.name not in peers:
            yield f"{peer.name} did not take part: `{peer.library}` is not installed."
    yield from single_and_batch.scaling(requests, ROUNDS, SECONDS)


def start_contenders(
    stack: ExitStack, uploads: Sequence[bytes], digits: Sequence[int]
) -> Iterator[Contender]:
    """Start all whose libraries are there; MyNet comes first, and last who does no work."""
    pairs = list(zip(uploads, digits, strict=True))
    requests = [Request(form(image), digit) for image, digit in pairs]
    bad = Request(form(NO_IMAGE), None)
    yield Contender(stack.enter_context(mynet()), requests, bad)
    for peer in filter(is_installed, PEERS):
        requests = [Request(peer.build_request(image), digit) for image, digit in pairs]
        server = stack.enter_context(start_peer(peer, requests[0]))
        yield Contender(server, requests, Request(peer.build_request(NO_IMAGE), None))
    requests = [Request(BARE.build_request(image), 0) for image in uploads]
    yield Contender(stack.enter_context(start_peer(BARE, requests[0])), requests, bad)


def measure(contenders: Sequence[Contender]) -> dict[str, Rounds]:
    """Time all in turn. Raises WrongDigit."""
    measured: dict[str, Rounds] = {
        contender.server.name: defaultdict(list) for contender in contenders
    }
    for level in LEVELS * ROUNDS:
        for contender in contenders:
            with contender.server.resumed():
                phase = time_load(contender.server.port, contender.requests, level, SECONDS)
            measured[contender.server.name][level].append(phase)
    return measured


def press_with_bad(contender: Contender) -> Pressed:
    """Send a fixed number of images, with bad files among them. Raises WrongDigit."""
    with contender.server.resumed():
        mixed = with_bad(contender.requests, contender.bad, BAD_FILE_ROUNDS)
        return verify(press_all(contender.server.port, mixed, BAD_FILE_CONNECTIONS))
