"""An epoch of the documented recipe beside the tutorial's own code, and beside its products alone.

The tutorial reads each image through torchvision's transforms, image by image, in a `DataLoader`;
ours gathers batches from memory. The jobs' loop has its backward pass written out; the readable
loop is its specification. All compute the same losses, and the run checks that they do.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final

import torch

from app.train.recipes.dataset import load
from bench.training.epochs import BATCH, IMAGES, ours, products, readable, tutorial
from tests.conftest import DATA

ROUNDS: Final = 5
MIN_SPEEDUP: Final = 6.5
MIN_SHARE: Final = 0.6
LABELS: Final = {
    "tutorial": "the tutorial's code",
    "readable": "our readable loop",
    "ours": "our loop",
    "products": "the matrix products alone",
}
Rounds = Mapping[str, Sequence[float]]


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report. Loading MNIST counts on neither side."""
    torch.set_num_threads(1)
    load(DATA)
    measured = measure()
    yield "## One epoch of training (`python -m bench train`)"
    yield ""
    yield (
        f"{IMAGES:,} images, batch {BATCH}, one thread, CPU; {ROUNDS} rounds, interleaved. "
        "The last loss is the same to the bit."
    )
    yield ""
    yield from tutorial_table(measured)


def measure() -> Rounds:
    """Return the CPU seconds of each round. Raises AssertionError if the losses differ."""
    rounds = defaultdict(list)
    losses = set()
    for _ in range(ROUNDS):
        for loop in (ours, products, readable, tutorial):
            epoch = loop()
            rounds[loop.__name__].append(epoch.cpu)
            if loop is not products:
                losses.add(epoch.loss)
    if len(losses) != 1:
        raise AssertionError(f"the loops computed different losses: {losses}")
    return rounds


def tutorial_table(rounds: Rounds) -> Iterator[str]:
    yield "| | median CPU seconds | all rounds |"
    yield "|---|---|---|"
    for name, label in LABELS.items():
        yield f"| {label} | {median(rounds[name]):.2f} | {format_rounds(rounds[name], '.2f')} |"
    yield ""
    ratios = ratios_by_round(rounds, "tutorial")
    yield (
        f"**{median(ratios):.1f} × as fast** as the tutorial's code (round by round: "
        f"{format_rounds(ratios, '.1f')}; goal: at least {MIN_SPEEDUP} ×)."
    )
    yield ""
    shares = ratios_by_round(rounds, "products")
    yield (
        f"**{median(shares):.0%} of the speed of the products alone** (round by round: "
        f"{format_rounds(shares, '.0%')}; goal: at least {MIN_SHARE:.0%})."
    )
    yield ""
    gains = ratios_by_round(rounds, "readable")
    yield (
        f"**{median(gains):.2f} × as fast as the readable loop** (round by round: "
        f"{format_rounds(gains, '.2f')})."
    )


def ratios_by_round(rounds: Rounds, other: str) -> list[float]:
    """Return the seconds of the other side, divided by ours, in each round."""
    return [a / b for a, b in zip(rounds[other], rounds["ours"], strict=True)]


def format_rounds(values: Sequence[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)
