"""Apply mutants one by one to copies of the tree, and print which of them the tests notice.

    python -m tests.mutants [--row TEXT] [--area NAME] [--draw N] [--seed N] [--jobs N]

Exits with 1 if one survives or cannot be tried.
"""

import argparse
import random
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.mutants.mutant import Mutant, read_mutants
from tests.mutants.processes import import_libraries
from tests.mutants.run import (
    BROKEN,
    SURVIVED,
    Outcome,
    copy_tree,
    time_tests,
    try_mutants,
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--row", default="", help="a part of a claim of guarantees.md")
    parser.add_argument("--area", default="", help="the name of a file in tests/mutants/patches")
    parser.add_argument("--draw", type=int, help="as many at random, of those of `make test`")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--jobs", type=int, default=1, help="copies that are worked on at a time")
    options = parser.parse_args()
    mutants = [m for m in read_mutants() if options.row in m.claim and options.area in m.area]
    if options.draw:
        quick = [mutant for mutant in mutants if not mutant.is_slow]
        mutants = random.Random(options.seed).sample(quick, min(options.draw, len(quick)))
        print(f"{len(mutants)} of {len(quick)} mutants, drawn by --seed {options.seed}")
    if not mutants:
        raise SystemExit("No mutant has this row and area.")
    started, counts = time.monotonic(), Counter[str]()
    for outcome in run(mutants, min(options.jobs, len(mutants))):
        counts[outcome.state] += 1
        print(describe(outcome), flush=True)
    summary = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    print(f"{summary}; {time.monotonic() - started:.0f} s")
    raise SystemExit(bool(counts[SURVIVED] or counts[BROKEN]))


def run(mutants: Sequence[Mutant], jobs: int) -> Iterator[Outcome]:
    """Yield the outcomes of these mutants, as they end."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = [Path(folder, str(number)) for number in range(jobs)]
        for tree in trees:
            copy_tree(tree)
        import_libraries()
        yield from try_mutants(trees, mutants, time_tests(trees, mutants))


def describe(outcome: Outcome) -> str:
    """Return the lines for an outcome."""
    mutant, indent = outcome.mutant, " " * 18
    patched = mutant.text.strip().splitlines()[0]
    return (
        f"{outcome.state:9}{outcome.seconds:6.1f} s  {mutant.area}: {mutant.claim}\n"
        f"{indent}{mutant.file}: {patched[:80]}\n"
        f"{indent}{outcome.detail}"
    )


if __name__ == "__main__":
    main()
