"""The mutants of `tests/mutants` fit the code and `docs/explanation/guarantees.md`, and are run."""

import ast
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.mutants import run
from tests.mutants.claims import read_claims
from tests.mutants.mutant import Mutant, MutantError, read_mutants

MUTANTS = read_mutants()
CLAIMS = read_claims()
MODULE = "def double(number):\n    return 2 * number\n"
TEST = "from module import double\n\n\ndef test_double():\n    assert double(%d) == %d\n"


def claims_of(mutant):
    return [claim for claim in CLAIMS if claim.text.startswith(mutant.claim)]


def test_every_mutant_fits_the_code():
    for mutant in MUTANTS:
        patched = mutant.apply((ROOT / mutant.file).read_text())
        if mutant.file.endswith(".py"):
            ast.parse(patched, mutant.file)


def test_mutants_have_the_beginning_of_one_claim():
    assert [mutant.claim for mutant in MUTANTS if len(claims_of(mutant)) != 1] == []


def test_every_claim_has_a_mutant():
    beginnings = tuple(mutant.claim for mutant in MUTANTS)
    assert [claim.text for claim in CLAIMS if not claim.text.startswith(beginnings)] == []


def test_mutants_run_tests_that_their_row_names():
    for mutant in MUTANTS:
        (claim,) = claims_of(mutant)
        assert [test for test in mutant.tests if not claim.names(test)] == [], mutant.claim
        # A row whose proof is a verb, such as `make fuzz`, names no test.
        assert bool(mutant.tests) == bool(claim.files or claim.functions), mutant.claim
        assert bool(mutant.command) != bool(mutant.tests), mutant.claim


def test_tests_of_mutants_exist():
    for mutant in MUTANTS:
        for test in mutant.tests:
            file, _, function = test.partition("::")
            assert (ROOT / file).exists(), test
            named = f"def {function.partition('[')[0]}(" if function else ""
            assert named in (ROOT / file).read_text(), test


@pytest.mark.parametrize("count", [0, 2])
def test_apply_text_that_is_gone_or_ambiguous_raises(count):
    mutant = Mutant("load", "A claim.", "app/main.py", "old", "new")
    message = rf"text of a mutant {count} times(.|\n)*patches/load\.toml"
    with pytest.raises(MutantError, match=message):
        mutant.apply("old " * count)


@pytest.fixture
def tree(tmp_path):
    """A project of one module and its tests."""
    (tmp_path / "module.py").write_text(MODULE)
    for number in (0, 2):  # twice 0 is 0, however it is computed
        (tmp_path / f"test_{number}.py").write_text(TEST % (number, 2 * number))
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:schemathesis\n")
    return tmp_path


def attempt(
    tree: Path, replacement: str, test: str, time_out: float = run.TIME_OUT
) -> tuple[str, str]:
    mutant = Mutant("load", "A claim.", "module.py", "2 * number", replacement, (test,))
    trying = run.Attempt(tree, mutant, time_out)
    outcome = trying.end(os.waitpid(trying.run.pid, 0)[1])
    assert (tree / "module.py").read_text() == MODULE
    return outcome.state, outcome.detail


def test_attempt_returns_whether_a_test_fails(tree):
    assert attempt(tree, "3 * number", "test_2.py") == (run.KILLED, "test_2.py::test_double")
    assert attempt(tree, "3 * number", "test_0.py") == (run.SURVIVED, "test_0.py")
    assert attempt(tree, "2 *", "test_2.py")[0] == run.BROKEN, "it cannot be imported"


def test_attempt_does_not_wait_for_a_test_that_hangs(tree):
    hanging = "sum(0 for _ in iter(int, 1))"
    assert attempt(tree, hanging, "test_2.py", 0.5) == (run.KILLED, "test_2.py::test_double")


def test_seconds_of_a_test_have_the_longest_set_up():
    """Whichever test sets up what others share."""
    output = """\
2.50s setup    tests/test_a.py::test_one
0.10s setup    tests/test_a.py::test_two
1.25s call     tests/test_a.py::test_two
0.25s teardown tests/test_a.py::test_two
PASSED tests/test_a.py::test_one
PASSED tests/test_a.py::test_two
PASSED tests/test_b.py::test_one
"""
    assert run.seconds_of_tests(output) == {
        "tests/test_a.py::test_one": 2.5,
        "tests/test_a.py::test_two": 4.0,
        "tests/test_b.py::test_one": 2.5,
    }


def test_mutants_are_of_many_files():
    assert len(Counter(mutant.file for mutant in MUTANTS)) > 50
