"""Chaos test: inject faults into a service under light load, and check its guarantees after each.

A seed (`BENCH_SEED`) draws the faults, each at least once; `BENCH_FAULTS=60` draws more. The
service has two workers, three distinct versions, finished jobs and a running one. Every answer is
compared with what the version that it names answers for that image. The service has recovered when
it is ready, accepts jobs, trains, and has lost nothing. A killed server is started again, as a
container would be. The GPU is the one of `tests.rigs.chaos.device_loss`.
"""

import os
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.rigs.chaos import faults
from tests.rigs.chaos.faults import Fault
from tests.rigs.chaos.target import Outcome, Scene

SEED: Final = int(os.environ.get("BENCH_SEED", random.SystemRandom().randrange(10**6)))
FAULTS: Final = int(os.environ.get("BENCH_FAULTS", "0"))
DEVICE: Final = "the device raises, then answers again"


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    print(f"seed {SEED}", flush=True)
    outcomes = run_faults(draw_faults())
    program = f"{sys.executable} -m tests.rigs.chaos.device_loss"
    outcomes[DEVICE] = run_faults([(DEVICE, faults.device)], program, workers=1)[DEVICE]
    all_outcomes = [outcome for fault_outcomes in outcomes.values() for outcome in fault_outcomes]
    yield "## Faults (`python -m bench chaos`)"
    yield ""
    yield (
        f"{len(all_outcomes)} faults, drawn from seed {SEED}, each under light load, on two cores "
        "that "
        "others used, too. *Refused*: an answer that says what is wrong, in words. *Cut*: no "
        "answer, from a server that was killed or not yet started again. *Wrong*: an answer that "
        "is not of the version it names, a 500, or a broken guarantee for this fault. Seconds to "
        "recovery count from when a fault that lasts has passed, or the server was started "
        "again. A damaged database counts as sound until the service reads the damage; losses up "
        "to then count with later faults."
    )
    yield ""
    yield "| fault | times | answered | refused | cut | wrong | seconds, at most | lost |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, fault_outcomes in outcomes.items():
        yield line(name, fault_outcomes)
    yield ""
    yield (
        f"**Wrong: {sum(outcome.wrong for outcome in all_outcomes)}. Jobs and versions lost: "
        f"{sum(outcome.lost for outcome in all_outcomes)}.**"
    )


def draw_faults() -> list[tuple[str, Fault]]:
    """Draw the faults, each once at least."""
    rng, available = random.Random(SEED), list(faults.available().items())
    extra = [rng.choice(available) for _ in range(FAULTS - len(available))]
    return rng.sample([*available, *extra], len(available) + len(extra))


def run_faults(
    named_faults: list[tuple[str, Fault]], program: str = "", workers: int = 2
) -> dict[str, list[Outcome]]:
    """Do these faults to one service, one after the other."""
    outcomes = defaultdict(list)
    with TemporaryDirectory() as folder:
        scene = Scene(Path(folder) / "scene", program, workers)
        try:
            scene.begin()
            for name, fault in named_faults:
                try:
                    outcome = scene.inject_fault(fault)
                except AssertionError as error:  # it does not start any more
                    print(str(error)[-2000:])
                    outcome = Outcome(0, 0, 0, 1, inf, 0)
                outcomes[name].append(outcome)
                print(name, outcomes[name][-1], flush=True)
        finally:
            scene.close()
    return outcomes


def line(name: str, fault_outcomes: list[Outcome]) -> str:
    """Return a line of the table."""
    sums = (sum(outcome[column] for outcome in fault_outcomes) for column in range(4))
    slowest = max(outcome.seconds for outcome in fault_outcomes)
    lost = sum(outcome.lost for outcome in fault_outcomes)
    return (
        f"| {name} | {len(fault_outcomes)} | {' | '.join(map(str, sums))} | {slowest:.0f} | {lost} "
        "|"
    )
