"""Tests of mutants in copies of the tree: first without any mutant, then with one at a time."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutants.claims import ROOT
from tests.mutants.mutant import Mutant
from tests.mutants.processes import Done, Run

KILLED, SURVIVED, NOT_RUN, BROKEN = "killed", "survived", "not run", "broken"
PASSED, FAILED = 0, 1  # of pytest; other exit codes mean that it could not run the tests
LIST_FILES: Final = "git ls-files --cached --others --exclude-standard -z"
OPTIONS: Final = ("-p", "no:cacheprovider", "--tb", "short")
# Seconds for one test without a mutant.
TIME_OUT: Final = 600.0
# Seconds for one test with a mutant, beside twice its time without one: many would wait in vain.
GRACE: Final = 30.0
RAY: Final = ROOT / ".venv-ray/bin/python"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant: `detail` is the test that failed, or the end of the output."""

    mutant: Mutant
    state: str
    detail: str
    seconds: float = 0.0


def copy_tree(target: Path) -> None:
    """Copy the files that git has or would add."""
    names = subprocess.run(shlex.split(LIST_FILES), cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, names.stdout.decode().split("\0")):
        source = ROOT / name
        if source.is_file() and not source.is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def time_tests(trees: Sequence[Path], mutants: Sequence[Mutant]) -> dict[str, float]:
    """Return the tests of these mutants that pass without any, with the seconds of each.

    Raises SystemExit if one fails.
    """
    tests = sorted({(python_of(mutant), test) for mutant in mutants for test in mutant.tests})
    seconds: dict[str, float] = {}
    shares = [(python, [t for p, t in tests if p == python]) for python in {p for p, _ in tests}]
    for python, share in shares:
        if Path(python).exists():
            runs = [
                Run(tree, [*OPTIONS, *limit(TIME_OUT), "--durations=0", "-rpfE", *part], python)
                for tree, part in zip(trees, _parts(share, len(trees)), strict=True)
                if part
            ]
            for run in runs:
                done = run.end(os.waitpid(run.pid, 0)[1])
                if done.exit_code != PASSED:
                    raise SystemExit(f"{done.output}\nThese tests fail without any mutant, too.")
                seconds |= seconds_of_tests(done.output)
    return seconds


def seconds_of_tests(output: str) -> dict[str, float]:
    """Return the tests that pytest says have passed, with the seconds of each.

    Tests share what only one of them sets up: the longest set-up counts for all.
    """
    own, longest_setup = defaultdict[str, float](float), 0.0
    for duration, phase, test in re.findall(r"^([\d.]+)s (\w+) +(\S+)", output, re.MULTILINE):
        if phase == "setup":
            longest_setup = max(longest_setup, float(duration))
        else:
            own[test] += float(duration)
    passed = re.findall(r"^PASSED (\S+)", output, re.MULTILINE)
    return {test: own[test] + longest_setup for test in passed}


def limit(seconds: float) -> tuple[str, str]:
    """Return pytest's options that let a test fail after so many seconds."""
    return "--timeout", f"{seconds:.1f}"


def try_mutants(
    trees: Sequence[Path],
    mutants: Sequence[Mutant],
    seconds: Mapping[str, float],
) -> Iterator[Outcome]:
    """Yield the outcome of each mutant, as they end: as many at a time as there are trees.

    `seconds` are those of the tests without a mutant.
    """
    free, running = [*trees], dict[int, tuple[Attempt, Path]]()
    for mutant in mutants:
        own = [duration for test, duration in seconds.items() if _is_among(test, mutant)]
        if mutant.tests and not own:
            yield Outcome(mutant, NOT_RUN, "its tests are skipped on this machine")
            continue
        if not free:
            yield _wait_for_one(running, free)
        tree = free.pop()
        attempt = Attempt(tree, mutant, GRACE + 2 * max(own, default=0.0))
        running[attempt.run.pid] = attempt, tree
    while running:
        yield _wait_for_one(running, free)


def _wait_for_one(running: dict[int, tuple["Attempt", Path]], free: list[Path]) -> Outcome:
    pid, status = os.wait()
    attempt, tree = running.pop(pid)
    free.append(tree)
    return attempt.end(status)


class Attempt:
    """The tests of a mutant, which run in a tree with its patch. `end` undoes the patch."""

    def __init__(self, tree: Path, mutant: Mutant, time_out: float = TIME_OUT) -> None:
        self.mutant, self._started, self._stack = mutant, time.monotonic(), ExitStack()
        self._stack.enter_context(mutant.applied(tree))
        options = [*OPTIONS, *limit(time_out), "-x", "-rfE", *mutant.tests]
        self.run = Run(tree, shlex.split(mutant.command) or options, python_of(mutant))

    def end(self, status: int) -> Outcome:
        self._stack.close()
        state, detail = _judge(self.mutant, self.run.end(status))
        return Outcome(self.mutant, state, detail, time.monotonic() - self._started)


def _judge(mutant: Mutant, done: Done) -> tuple[str, str]:
    if done.exit_code == PASSED:
        return SURVIVED, mutant.command or " ".join(mutant.tests)
    if mutant.command:
        return KILLED, mutant.command
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.output, re.MULTILINE)
    if done.exit_code != FAILED or failed is None:
        return BROKEN, done.output[-3000:]
    return KILLED, failed[1]


def python_of(mutant: Mutant) -> str:
    """Return the interpreter that runs the tests: those on Ray have an environment of their own."""
    is_ray = any(test.startswith("tests/ray/") for test in mutant.tests)
    return str(RAY) if is_ray else sys.executable


def _parts(tests: Sequence[str], count: int) -> list[list[str]]:
    """Return the tests in so many lists; those of a file stay together."""
    files = sorted({test.partition("::")[0] for test in tests})
    return [
        [test for test in tests if files.index(test.partition("::")[0]) % count == part]
        for part in range(count)
    ]


def _is_among(test: str, mutant: Mutant) -> bool:
    return any(test == t or test.startswith((f"{t}::", f"{t}[")) for t in mutant.tests)
