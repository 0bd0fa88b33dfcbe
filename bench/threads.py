"""What a second thread brings to an epoch: on an idle machine, and beside one busy process.

What enters: nothing. What leaves: the lines of the report. Each number of threads has a process of
its own, started as a job's is: its threads wait asleep, and it is the last in line for a core. They
wait asleep in between, too, so that they can take turns. `python -m bench.threads N` is such a
process. This module does not know what the tutorial takes.
"""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from statistics import median
from typing import Final

import torch

from app.subprocesses import popen_kwargs, lower_priority
from bench.epochs import Epoch, ours
from tests.conftest import ROOT

ROUNDS: Final = 5
THREADS: Final = (1, 2)
SPIN: Final = (sys.executable, "-c", "while True: pass")


class Trainer:
    """A process that trains an epoch whenever it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def epoch(self) -> Epoch:
        print(file=self.process.stdin, flush=True)
        return Epoch(*map(float, self.process.stdout.readline().split()))


@contextmanager
def trainer(count: int) -> Iterator[Trainer]:
    """Start one with so many threads; its first epoch, which is slower, is behind it."""
    command = [sys.executable, "-m", "bench.threads", str(count)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **popen_kwargs(),
    ) as process:
        lower_priority(process.pid)
        one = Trainer(process)
        one.epoch()
        yield one  # it ends when its standard input closes


@contextmanager
def spinning() -> Iterator[None]:
    """Keep one core busy, as a server under load does."""
    with subprocess.Popen(SPIN) as process:
        try:
            yield
        finally:
            process.kill()


PLACES: Final = {"idle machine": nullcontext, "beside one busy process": spinning}


def lines() -> Iterator[str]:
    """Measure, and give the lines of the report."""
    epochs = measure()
    losses = {each.loss for rounds in epochs.values() for each in rounds}
    told = "the same last loss" if len(losses) == 1 else "another last loss: other bits"
    yield (
        f"Two threads beside one, by the wall clock, {ROUNDS} rounds, interleaved. Each process is "
        "niced and waits asleep, as a job's does. Another number of threads may add in another "
        f"order, and so give other bits; here two gave {told}. Where one thread had less than a "
        "core, others were at work on the machine, and the ratios say little."
    )
    yield ""
    yield "| | 1 thread, seconds | of a core | 2 threads, seconds | 2 threads are | all rounds |"
    yield "|---|---|---|---|---|---|"
    for place in PLACES:
        yield compared(place, *(epochs[place, count] for count in THREADS))


def compared(place: str, one: Sequence[Epoch], two: Sequence[Epoch]) -> str:
    """Give a line of the table."""
    ratios = [a.wall / b.wall for a, b in zip(one, two, strict=True)]
    single, double = (median(each.wall for each in epochs) for epochs in (one, two))
    had = median(each.cpu / each.wall for each in one)
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    return (
        f"| {place} | {single:.2f} | {100 * had:.0f} % | {double:.2f} "
        f"| **{median(ratios):.2f} × as fast** | {shown} |"
    )


def measure() -> Mapping[tuple[str, int], Sequence[Epoch]]:
    """Give the epochs by place and threads."""
    epochs = defaultdict(list)
    with ExitStack() as stack:
        trainers = {count: stack.enter_context(trainer(count)) for count in THREADS}
        for place in list(PLACES) * ROUNDS:
            with PLACES[place]():
                for count, each in trainers.items():
                    epochs[place, count].append(each.epoch())
    return epochs


def train_when_told(count: int) -> None:
    torch.set_num_threads(count)
    for _ in sys.stdin:
        print(*ours(), flush=True)


if __name__ == "__main__":
    train_when_told(int(sys.argv[1]))
