"""The pages of docs/reference are what the code is."""

import re

import pytest
from starlette.testclient import TestClient

from app.config.settings import Settings
from app.main import create_app
from app.train.jobs.hyperparameters import TrainRequest
from app.train.jobs.sweep_grid import MAX_JOBS, Grid
from app.versions.registry import Registry
from tests.conftest import ROOT
from tests.service.running import wait_until
from tools.reference.pages import FOLDER, PAGES
from tools.reference.settings import GROUPS, settings_page


@pytest.mark.parametrize("name", PAGES)
def test_generated_page_matches_the_code(name: str) -> None:
    page = PAGES[name]()
    assert (FOLDER / name).read_text() == page, f"run `make docs`: docs/reference/{name} is old"


def test_settings_page_with_an_ungrouped_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(GROUPS, "Logs", "log_level")
    with pytest.raises(ValueError, match="log_format"):
        settings_page()


def test_http_api_page_names_every_route(settings: Settings) -> None:
    page = (ROOT / "docs/reference/http-api.md").read_text()
    for path, methods in create_app(settings).openapi()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in page


def section_of(route: str) -> str:
    """Return what docs/reference/http-api.md says about a route."""
    page = (ROOT / "docs/reference/http-api.md").read_text()
    return page.partition(f"\n### `{route}`\n")[2].partition("\n### ")[0]


def names_between(text: str, start: str, end: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text.partition(start)[2].partition(end)[0]))


def test_http_api_page_has_a_row_for_each_field_of_a_job() -> None:
    table = section_of("POST /train").partition("\n\n|")[2].partition("\n\n")[0]
    names = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(names) == sorted(TrainRequest.model_fields)


def test_http_api_page_names_the_fields_of_a_job_that_a_sweep_lacks_or_does_not_vary() -> None:
    section = section_of("POST /sweeps")
    lacking = TrainRequest.model_fields.keys() - Grid.model_fields.keys()
    assert names_between(section, "but not ", ".") == lacking
    schemas = Grid.model_json_schema()["properties"]
    is_varied = {name: f"'maxItems': {MAX_JOBS}," in str(schemas[name]) for name in schemas}
    assert is_varied["epochs"] and is_varied["seed"]
    same = {name for name in TrainRequest.model_fields if is_varied.get(name) is False}
    assert names_between(section, "All jobs have the same ", ":") == same


def test_files_page_names_every_file_of_the_state_folder(
    client: TestClient, settings: Settings
) -> None:
    upload = (ROOT / "docs/images/seven.jpg").read_bytes()
    created = client.post("/feedback", files={"file": upload}, data={"label": "7"})
    assert created.status_code == 201
    registry = Registry(settings.models_dir)
    version = registry.save(registry.weights(1), registry.card(1))
    assert client.delete(f"/models/{version}").status_code == 204
    page = (ROOT / "docs/reference/files.md").read_text()
    names = [
        re.compile(re.sub(r"\\{\w+\\}", "[^/]*", re.escape(name)))
        for name in re.findall(r"`([^`\n]+)`", page)
    ]
    # While a backup is written, it has a journal, which the page need not list.
    assert wait_until((settings.state_dir / "mynet.db.backup").exists)
    files = [path for path in settings.state_dir.rglob("*") if path.is_file()]
    assert settings.state_dir / "models" / "LAST" in files
    for path in files:
        name = path.relative_to(settings.state_dir).as_posix()
        assert any(pattern.fullmatch(name) for pattern in names), f"files.md does not name {name}"
