"""Links between the pages of docs: each leads somewhere, and docs/index.md leads to each page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the anchor of each link that is not to the web."""
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"\w+:", target):
            name, _, anchor = target.partition("#")
            yield ((page.parent / name).resolve() if name else page), anchor


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_link_of_a_page_leads_somewhere(page: str) -> None:
    for target, anchor in links(ROOT / page):
        assert target.exists(), f"{page} links to {target}, which does not exist"
        assert not anchor or anchor in anchors(target), f"{page}: {target.name} has no #{anchor}"


def test_index_leads_to_every_page() -> None:
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md" and page.is_relative_to(DOCS):
            reached.add(page)
            waiting += [target for target, _ in links(page)]
    assert {page.relative_to(ROOT).as_posix() for page in reached} == set(PAGES)


def test_anchors_are_those_of_github(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# `POST /predict`, and more\n\n```sh\n# no heading\n```\n\n## Ünïcode-1\n")
    assert anchors(page) == {"post-predict-and-more", "ünïcode-1"}
