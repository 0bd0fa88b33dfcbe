"""What the documents say is what the code does."""

import re

import pytest

from app.config.settings import PREFIX, Settings
from app.main import create_app
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_the_settings_table_is_the_codes():
    rows = re.findall(rf"^\| `({PREFIX}\w+)` \| (.*?) \| (.*) \|$", README, re.MULTILINE)
    expected = [
        (
            PREFIX + name.upper(),
            "" if field.default is None else f"`{field.default}`",
            field.description,
        )
        for name, field in Settings.model_fields.items()
    ]
    assert rows == expected


def test_the_tree_names_every_module_with_a_comment():
    tree = re.search(r"^app/\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1]
    documented_modules = re.findall(r"^ +(\w+\.py) {2,}\S", tree, re.MULTILINE)
    modules = [path.name for path in (ROOT / "app").rglob("*.py") if path.name != "__init__.py"]
    assert sorted(documented_modules) == sorted(modules)


def test_every_route_is_in_the_readme(settings):
    for path in create_app(settings).openapi()["paths"]:
        documented_path = (
            path.replace("{job_id}", "JOB")
            .replace("{version}", "1")
            .replace("{correction_id}", "ID")
            .replace("{sweep_id}", "SWEEP")
        )
        assert documented_path in README, path


@pytest.mark.parametrize(
    "document", sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.md"))
)
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_the_example_image_is_read_as_the_readme_says(client):
    upload = (ROOT / "docs/images/seven.jpg").read_bytes()
    body = client.post("/predict", files={"file": ("seven.jpg", upload)}).json()
    assert (body["digit"], body["is_digit"]) == (7, True)
    assert body["confidence"] >= 0.99


def test_the_readme_says_the_same_in_portuguese():
    portuguese = (ROOT / "README.pt-BR.md").read_text()
    blocks = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    assert blocks.findall(portuguese) == blocks.findall(README)
    links = re.compile(r"\]\(((?!README)[^)]+)\)|^\| (`\w+`)", re.MULTILINE)
    assert links.findall(blocks.sub("", portuguese)) == links.findall(blocks.sub("", README))
    headings = re.compile(r"^##* ", re.MULTILINE)
    assert len(headings.findall(portuguese)) == len(headings.findall(README))
