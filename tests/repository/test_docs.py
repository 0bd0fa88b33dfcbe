"""The READMEs: short, with links that lead somewhere, and equal in both languages."""

import re

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
MAX_BYTES = 10_240
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["README.md", "README.pt-BR.md"])
def test_readme_is_one_page(name):
    assert (ROOT / name).stat().st_size <= MAX_BYTES


@pytest.mark.parametrize(
    "document", sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.md"))
)
def test_link_of_a_document_leads_somewhere(document):
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_example_image_is_read_as_the_readme_shows(client):
    upload = (ROOT / "docs/images/seven.jpg").read_bytes()
    body = client.post("/predict", files={"file": ("seven.jpg", upload)}).json()
    assert (body["digit"], body["is_digit"]) == (7, True)
    assert body["confidence"] >= 0.99


def test_readme_in_portuguese_has_the_same_commands_links_and_headings():
    portuguese = (ROOT / "README.pt-BR.md").read_text()
    commands, translated_commands = (
        [block for block in BLOCK.findall(text) if not block.startswith("```text")]
        for text in (README, portuguese)
    )
    assert translated_commands == commands
    links = re.compile(r"\]\(((?!README)[^)]+)\)")
    assert links.findall(portuguese) == links.findall(README)
    headings = re.compile(r"^#+ ", re.MULTILINE)
    assert headings.findall(portuguese) == headings.findall(README)


def test_readme_names_every_folder_of_app():
    packages = {path.parent.name for path in (ROOT / "app").glob("*/__init__.py")}
    folders = re.search(r"^```text\napi (.*?)^```$", README, re.MULTILINE | re.DOTALL)[0]
    assert packages <= set(re.findall(r"\w+", folders))
