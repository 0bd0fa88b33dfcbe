"""Every I/O error in turn: the k-th call below the state folder fails, for each k.

`python -m tests.rigs.io_errors` starts itself again with `fail_io.c` in front of the C library.
"""

import argparse
import itertools
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.rigs.io_errors import plan as plans
from tests.rigs.io_errors.plan import Fault, Plan
from tests.rigs.io_errors.trial import Operation, Trial
from tests.rigs.temporary_files import TEMPORARY_ROOT, use_memory

LIBRARY = Path(__file__).with_name("fail_io.c")


def main() -> int:
    if "FAIL_IO_PLAN" in os.environ:
        return try_all(Path(os.environ["FAIL_IO_FOLDER"]), Plan(Path(os.environ["FAIL_IO_PLAN"])))
    parse_options()  # refuses what it does not know before anything starts
    if shutil.which("gcc") is None:
        print("gcc is not installed, so no I/O error can be made.")
        return int("CI" in os.environ)
    use_memory()
    with tempfile.TemporaryDirectory(dir=os.environ.get(TEMPORARY_ROOT)) as name:
        folder = Path(name)
        library, plan, state = folder / "fail_io.so", folder / "plan", folder / "state"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, LIBRARY, "-ldl"], check=True)
        Plan.create(plan)
        state.mkdir()
        command = [sys.executable, "-m", __package__, *sys.argv[1:]]
        environment = plans.environment(library, plan, state)
        return subprocess.run(command, env=environment, check=False).returncode


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    parser.add_argument("--only", default="", help="try the operations whose name has this pattern")
    parser.add_argument("--calls", type=int, help="draw so many faults of each; default: all")
    parser.add_argument("--seed", type=int, help="draw the faults of an earlier run again")
    return parser.parse_args()


def try_all(folder: Path, plan: Plan) -> int:
    """Try each operation; print what broke a promise, and return 1 if anything did."""
    from tests.rigs.io_errors.operations import operations  # imports the service

    options = parse_options()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    draw, kinds, broken = random.Random(seed), Counter[str](), 0
    print(f"seed: {seed}")
    logging.root.addHandler(logging.NullHandler())  # each try would log its error
    with ExitStack() as stack:
        for name, operation in operations(folder, stack).items():
            if re.search(options.only, name):
                broken += try_operation(name, operation, plan, draw, options.calls, kinds)
    print("failed calls:", ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
    print(f"{kinds.total()} faults, {broken} broken promises")
    return min(broken, 1)


def try_operation(
    name: str,
    operation: Operation,
    plan: Plan,
    draw: random.Random,
    count: int | None,
    kinds: Counter[str],
) -> int:
    """Try the faults of an operation, print the promises that were broken, and return how many."""
    started, before, broken = time.monotonic(), kinds.total(), 0
    operation.prepare()
    plan.arm()
    operation.act()
    counts, _ = plan.disarm()
    drawn = None if count is None else counts.draw(draw, count)
    for trial in trials(name, operation, drawn):
        for problem in trial.run(plan):
            broken += 1
            print(problem, flush=True)
        if trial.failed.call:
            kinds[f"{trial.fault.how} of {trial.failed.call}"] += 1
    faults, seconds = kinds.total() - before, time.monotonic() - started
    print(f"{name}: {counts.calls} calls, {faults} faults, {seconds:.0f} s", flush=True)
    return broken


def trials(name: str, operation: Operation, drawn: Sequence[Fault] | None) -> Iterator[Trial]:
    """Yield the drawn trials; by default, those of each call, until there is none of that number.

    So a trial that has more calls than the first run leaves none out.
    """
    if drawn is not None:
        yield from (Trial(name, operation, fault) for fault in drawn)
        return
    for how in plans.HOW:
        for number in itertools.count(1):
            trial = Trial(name, operation, Fault(number, how))
            yield trial
            if not trial.failed.call:
                break


if __name__ == "__main__":
    sys.exit(main())
