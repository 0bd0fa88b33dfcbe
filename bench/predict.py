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

from bench import alone, plots
from bench.compared import HEAD, LEVELS, Rounds, ratios, row, versions
from bench.digits import NO_IMAGE, form, images, with_bad
from bench.press import Pressed, Request, press_all
from bench.standing import BARE, PEERS, Standing, installed, mynet, stand
from bench.timed import checked, generator, timed

SECONDS: Final = float(os.environ.get("BENCH_SECONDS", "3"))
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "2"))
BESIDE: Final = 64
TIMES: Final = 10


class Entered(NamedTuple):
    """Who stands, what it is sent, and what is no image."""

    standing: Standing
    requests: Sequence[Request]
    bad: Request


def main() -> Iterator[str]:
    """Measure, and give the lines of the report."""
    uploads, digits = images()
    with ExitStack() as stack:
        entered = list(enter(stack, uploads, digits))
        measured = measure(entered)
        beside = {each.standing.name: beside_bad(each) for each in entered[:-1]}
    yield "## Predictions beside peers (`python -m bench predict`)"
    yield ""
    yield explained(uploads)
    yield ""
    yield HEAD
    for name, rounds in measured.items():
        yield row(name, rounds, beside.get(name))
    for line in concluded(measured, entered[0].requests):
        yield ""
        yield line
    for line in (*alone.batches(uploads, digits, SECONDS), plots.draw(measured)):
        yield ""
        yield line
    yield ""
    yield f"Versions: {versions()}."


def explained(uploads: Sequence[bytes]) -> str:
    """Say what was done."""
    sizes = sorted(map(len, uploads))
    return (
        f"`POST /predict`, {len(uploads):,} different MNIST images of {sizes[0]} to {sizes[-1]} "
        "bytes, the same weights, one worker and one thread of torch each; "
        f"{ROUNDS} × {SECONDS:.0f} s for each cell, interleaved, medians. The load and who is "
        "measured share the cores. LitServe and mosec are two processes each, one that listens and "
        f"one that predicts. Load: {generator()}. Beside bad files: one in eleven of "
        f"{11 * len(uploads):,} requests over {BESIDE} connections is no image."
    )


def concluded(measured: Mapping[str, Rounds], requests: Sequence[Request]) -> Iterator[str]:
    """Compare with the peers, say which of them are missing, and with one's own second worker."""
    peers = {peer.name: measured[peer.name] for peer in PEERS if peer.name in measured}
    yield from ratios(measured["MyNet"], peers)
    for peer in PEERS:
        if peer.name not in peers:
            yield f"{peer.name} did not take part: `{peer.library}` is not installed."
    yield from alone.scaling(requests, ROUNDS, SECONDS)


def enter(stack: ExitStack, uploads: Sequence[bytes], digits: Sequence[int]) -> Iterator[Entered]:
    """Start all whose libraries are there; MyNet comes first, and last who does no work."""
    pairs = list(zip(uploads, digits, strict=True))
    requests = [Request(form(image), digit) for image, digit in pairs]
    bad = Request(form(NO_IMAGE), None)
    yield Entered(stack.enter_context(mynet()), requests, bad)
    for peer in filter(installed, PEERS):
        requests = [Request(peer.asked(image), digit) for image, digit in pairs]
        standing = stack.enter_context(stand(peer, requests[0]))
        yield Entered(standing, requests, Request(peer.asked(NO_IMAGE), None))
    requests = [Request(BARE.asked(image), 0) for image in uploads]
    yield Entered(stack.enter_context(stand(BARE, requests[0])), requests, bad)


def measure(entered: Sequence[Entered]) -> dict[str, Rounds]:
    """Time all in turn. Raises WrongDigit."""
    measured: dict[str, Rounds] = {each.standing.name: defaultdict(list) for each in entered}
    for level in LEVELS * ROUNDS:
        for each in entered:
            with each.standing.awake():
                phase = timed(each.standing.port, each.requests, level, SECONDS)
            measured[each.standing.name][level].append(phase)
    return measured


def beside_bad(each: Entered) -> Pressed:
    """Send a fixed number of images, with bad files among them. Raises WrongDigit."""
    with each.standing.awake():
        mixed = with_bad(each.requests, each.bad, TIMES)
        return checked(press_all(each.standing.port, mixed, BESIDE))
