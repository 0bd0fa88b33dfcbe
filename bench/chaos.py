"""Chaos: faults are done to a service under light load, and its promises are looked at after each.

Every fault is drawn from a seed (`BENCH_SEED`), each once at least; `BENCH_FAULTS=60` draws more.
The service has two workers, three versions that can be told apart, jobs that ended and one that
runs; every answer is compared with what the version that it names answers for that image. It is
well again when it is ready, takes jobs, trains, and nothing is lost. A server that was killed is
started again, as a container would be. The GPU is one of `bench.losing`.
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

from bench import faults
from bench.faults import Fault
from bench.scene import Outcome, Scene

SEED: Final = int(os.environ.get("BENCH_SEED", random.SystemRandom().randrange(10**6)))
FAULTS: Final = int(os.environ.get("BENCH_FAULTS", "0"))
DEVICE: Final = "the device raises, then answers again"


def main() -> Iterator[str]:
    """Measure, and give the lines of the report."""
    print(f"seed {SEED}", flush=True)
    outcomes = suffered(drawn())
    alone = f"{sys.executable} -m bench.losing"
    outcomes[DEVICE] = suffered([(DEVICE, faults.device)], alone, workers=1)[DEVICE]
    flat = [each for several in outcomes.values() for each in several]
    yield "## Faults (`python -m bench chaos`)"
    yield ""
    yield (
        f"{len(flat)} faults, drawn from seed {SEED}, each under light load, on two cores that "
        "others used, too. *Refused*: an answer that says what is wrong, in words. *Cut*: no "
        "answer, from a server that was killed or not yet started again. *Wrong*: an answer that "
        "is not of the version it names, a 500, or a promise of this fault not kept. Seconds until "
        "all is well again count from when a fault that lasts has passed, or the server was "
        "started again. A database counts as well until somebody comes upon the damage; what is "
        "lost by then is counted with later faults."
    )
    yield ""
    yield "| fault | times | answered | refused | cut | wrong | seconds, at most | lost |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, several in outcomes.items():
        yield line(name, several)
    yield ""
    yield (
        f"**Wrong: {sum(each.wrong for each in flat)}. Jobs and versions lost: "
        f"{sum(each.lost for each in flat)}.**"
    )


def drawn() -> list[tuple[str, Fault]]:
    """Draw the faults, each once at least."""
    draw, known = random.Random(SEED), list(faults.known().items())
    more = [draw.choice(known) for _ in range(FAULTS - len(known))]
    return draw.sample([*known, *more], len(known) + len(more))


def suffered(
    drawn: list[tuple[str, Fault]], program: str = "", workers: int = 2
) -> dict[str, list[Outcome]]:
    """Do these faults to one service, one after the other."""
    outcomes = defaultdict(list)
    with TemporaryDirectory() as folder:
        scene = Scene(Path(folder) / "scene", program, workers)
        try:
            scene.begin()
            for name, fault in drawn:
                try:
                    outcome = scene.suffer(fault)
                except AssertionError as error:  # it does not start any more
                    print(str(error)[-2000:])
                    outcome = Outcome(0, 0, 0, 1, inf, 0)
                outcomes[name].append(outcome)
                print(name, outcomes[name][-1], flush=True)
        finally:
            scene.close()
    return outcomes


def line(name: str, several: list[Outcome]) -> str:
    """Give a line of the table."""
    sums = (sum(each[at] for each in several) for at in range(4))
    slowest = max(each.seconds for each in several)
    lost = sum(each.lost for each in several)
    return f"| {name} | {len(several)} | {' | '.join(map(str, sums))} | {slowest:.0f} | {lost} |"
