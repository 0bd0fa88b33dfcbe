"""Names in `app` and `client` are the field's terms: CONTRIBUTING.md has the table of words."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Bare participles, question words and riddles: none of them says what a thing is.
FORBIDDEN = frozenset(
    re.findall(
        r"\w+",
        """
    told tell tells known seen see kept keep shown begun asked asks given wanted wish wishes spoken
    happened made mend settle tidy bury stumble crew turn leash shelf mirror look looked patience
    patient who whom alone here elsewhere team leader member lookalikes standing beside endless
    hosted express taken takes most least longest largest spare take_leave let_go got_further
    go_on_unless without_offer while_away bring_in in_words tell_in_words each
        """,
    )
)
# A name that a protocol or a contract dictates says so at the end of its line.
ALLOWED = "plain-words: ok"
FILES = sorted(
    path for root in (ROOT / "app", ROOT / "client" / "src") for path in root.rglob("*.py")
)


def bound_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield each name that a module binds, and its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case ast.Name(ctx=ast.Store()):
                yield node.id, node.lineno
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr, node.lineno
            case ast.ExceptHandler(name=str(name)):
                yield name, node.lineno
            case ast.alias(asname=str(name)):
                yield name, node.lineno


def forbidden_names(source: str) -> list[str]:
    """Return each forbidden name that a module binds, as `line: name`."""
    lines = source.splitlines()
    return [
        f"{line}: {name}"
        for name, line in bound_names(ast.parse(source))
        if name.strip("_").lower() in FORBIDDEN and ALLOWED not in lines[line - 1]
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_are_the_fields_terms(path: Path) -> None:
    assert path.stem not in FORBIDDEN
    assert forbidden_names(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "def tell(): ...",
        "class Crew: ...",
        "def f(most): ...",
        "_KNOWN = 1",
        "x.told = 1",
        "for each in (): ...",
        "import app as elsewhere",
        "try: ...\nexcept OSError as told: ...",
        "[seen for seen in ()]",
    ],
)
def test_every_kind_of_binding_is_found(source: str) -> None:
    assert len(forbidden_names(source)) == 1
    assert forbidden_names(re.sub(r"(?m)$", f"  # {ALLOWED}", source)) == []


def test_the_words_of_the_field_are_allowed() -> None:
    assert forbidden_names("def record(max_bytes, existing): timeout = deadline = 1") == []
