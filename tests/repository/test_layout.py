"""Sizes of files, functions and folders: what a reader can take in at once."""

import ast

import pytest

from tests.conftest import ROOT

ROOTS = ("app", "client/src", "tests", "bench", "tools", "examples")
FILES = sorted(path for root in ROOTS for path in (ROOT / root).rglob("*.py"))
MAX_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_FILES = 14
# The page's scripts and styles are served from one folder.
LARGE_FOLDERS = {ROOT / "app" / "web" / "page"}
MEANINGLESS = {"utils", "helpers", "manager", "core", "base"}


@pytest.mark.parametrize("root", ROOTS)
def test_files_and_functions_fit_on_a_few_screens(root: str) -> None:
    for path in (ROOT / root).rglob("*.py"):
        source = path.read_text()
        assert len(source.splitlines()) <= MAX_LINES, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= MAX_FUNCTION_LINES, f"{path}: {node.name}"


def test_file_names_say_what_is_in_them() -> None:
    assert [path for path in FILES if path.stem in MEANINGLESS] == []


def test_folders_hold_about_a_dozen_files() -> None:
    folders = {path.parent for root in ROOTS for path in (ROOT / root).rglob("*.*")}
    for folder in folders - LARGE_FOLDERS:
        if "__pycache__" in folder.parts:
            continue
        files = [path for path in folder.iterdir() if path.is_file() and path.stem != "__init__"]
        assert len(files) <= MAX_FILES, folder
