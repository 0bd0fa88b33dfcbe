"""An epoch of the documented loop beside the tutorial's own code, and beside what a core can do.

The tutorial reads each image through torchvision's transforms, image by image, in a `DataLoader`;
ours gathers batches from memory. Both compute the same losses, and the run checks that they do.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final

import torch

from app.train.recipes.dataset import load
from bench import threads
from bench.epochs import BATCH, IMAGES, ours, tutorial
from bench.products import SIDE, operations, peak, products_alone
from tests.conftest import DATA

ROUNDS: Final = 5
MIN_SPEEDUP: Final = 4.5
MIN_PEAK_SHARE: Final = 65
Rounds = Mapping[str, Sequence[float]]


def main() -> Iterator[str]:
    """Measure, and give the lines of the report. Loading MNIST counts on neither side."""
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
    yield ""
    yield from peak_table(measured)
    yield ""
    yield from threads.lines()


def measure() -> Rounds:
    """Give each round's CPU seconds, and the operations a CPU second of a large product."""
    rounds = defaultdict(list)
    losses = set()
    for _ in range(ROUNDS):
        rounds["peak"].append(peak())
        rounds["products"].append(products_alone(IMAGES, BATCH))
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


def peak_table(rounds: Rounds) -> Iterator[str]:
    """Say how much of the core the loop uses, and how much its products alone would."""
    operation_count = operations(IMAGES)
    yield (
        f"The epoch needs {operation_count / 1e9:.2f} GFLOP: a product forward and two backward for each "
        f"layer, but one for the first. The peak is that of a {SIDE} × {SIDE} product, float32; "
        "a step's 11 products alone show what their shapes cost, the rest is the loop's."
    )
    yield ""
    yield "| | median GFLOP a CPU second | share of the peak | all rounds |"
    yield "|---|---|---|---|"
    yield f"| the peak | {median(rounds['peak']) / 1e9:.0f} | 100 % | |"
    for name, label in (("products", "the products alone"), ("ours", "our loop")):
        rates = [operation_count / seconds for seconds in rounds[name]]
        shares = [100 * a / b for a, b in zip(rates, rounds["peak"], strict=True)]
        share = f"{median(shares):.0f} %"
        yield f"| {label} | {median(rates) / 1e9:.0f} | {share} | {format_rounds(shares, '.0f')} |"
    yield ""
    yield f"**{share} of the core's peak** (goal: at least {MIN_PEAK_SHARE} %)."


def format_rounds(values: Sequence[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)
