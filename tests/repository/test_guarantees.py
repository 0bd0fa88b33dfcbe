"""The tests that `docs/explanation/guarantees.md` names exist."""

import re

from tests.conftest import ROOT

PAGE = (ROOT / "docs/explanation/guarantees.md").read_text()


def test_guarantees_name_test_files_that_exist():
    named_files = set(re.findall(r"`(tests/[\w/]+\.\w+)`", PAGE))
    assert len(named_files) > 50
    assert sorted(name for name in named_files if not (ROOT / name).exists()) == []


def test_guarantees_name_test_functions_that_exist():
    named_functions = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named_functions) > 20
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    defined_functions = set(re.findall(r"^ *(?:async )?def (test_\w+)\(", "\n".join(sources), re.M))
    assert sorted(named_functions - defined_functions) == []


def test_guarantees_name_a_test_in_every_row():
    rows = [
        row for row in PAGE.splitlines() if row.startswith("| ") and row != "| claim | test | rig |"
    ]
    assert len(rows) > 80
    assert [row for row in rows if "test" not in row.split("|")[2] and "make" not in row] == []
