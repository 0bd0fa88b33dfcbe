"""The pages of docs/reference are what the code is."""

import pytest

from app.config.settings import Settings
from app.main import create_app
from tests.conftest import ROOT
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
