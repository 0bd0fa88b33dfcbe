"""An epoch of the documented loop beside the tutorial's own code.

The tutorial reads each image through torchvision's transforms, image by image, in a `DataLoader`;
ours gathers batches from memory. Both compute the same losses, and the run checks that they do.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final

import torch

from app.train.recipes.dataset import load
from bench.training.epochs import BATCH, IMAGES, ours, tutorial
from tests.conftest import DATA

ROUNDS: Final = 5
MIN_SPEEDUP: Final = 4.5
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
        for name, epoch in (("ours", ours), ("tutorial", tutorial)):
            epoch_result = epoch()
            rounds[name].append(epoch_result.cpu)
            losses.add(epoch_result.loss)
    if len(losses) != 1:
        raise AssertionError(f"the two loops computed different losses: {losses}")
    return rounds


def tutorial_table(rounds: Rounds) -> Iterator[str]:
    yield "| | median CPU seconds | all rounds |"
    yield "|---|---|---|"
    for name, label in (("tutorial", "the tutorial's code"), ("ours", "our loop")):
        yield f"| {label} | {median(rounds[name]):.2f} | {format_rounds(rounds[name], '.2f')} |"
    yield ""
    ratios = [a / b for a, b in zip(rounds["tutorial"], rounds["ours"], strict=True)]
    yield (
        f"**{median(ratios):.1f} × as fast** (round by round: {format_rounds(ratios, '.1f')}; "
        f"goal: at least {MIN_SPEEDUP} ×)."
    )


def format_rounds(values: Sequence[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)
