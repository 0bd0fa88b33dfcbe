"""Each view works in Firefox, too: a digit is drawn and read, and no view has an error."""

import json

import pytest

from tests.browser.conftest import SEVEN
from tests.programs import find_program


@pytest.fixture
def firefox(tmp_path):
    pytest.importorskip("websockets", reason="an extra: make test-browser")
    from tests.browser.firefox import run_firefox

    with run_firefox(find_program("firefox-esr"), tmp_path / "profile") as browser:
        yield browser


def test_each_view_works_in_firefox(firefox, service):
    home = f"http://127.0.0.1:{service.port}"
    firefox.open(f"{home}/docs")
    firefox.wait_for("document.querySelector('.opblock') !== null")
    firefox.open(f"{home}/")
    box = json.loads(
        firefox.evaluate(
            "JSON.stringify(document.getElementById('canvas').getBoundingClientRect())"
        )
    )
    [stroke] = SEVEN
    firefox.drag([(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke])
    firefox.wait_for("document.getElementById('said').textContent.startsWith('It is a 7')")
    firefox.wait_for("document.querySelectorAll('#unit-rows tr').length === 4")
    firefox.wait_for("document.querySelectorAll('#compared .opinion').length === 2")
    for view, ready in (
        ("train", "#loss-chart svg"),
        ("versions", "#confusion button"),
        ("corrections", "#no-corrections:not([hidden]), #corrections-grid li"),
    ):
        firefox.click(f"nav a[href='#/{view}']")
        firefox.wait_for(f"document.querySelector('{ready}')?.checkVisibility() === true")
        assert firefox.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), view
    assert firefox.messages == []
    assert f"{home}/predict" in firefox.requests, "requests are heard of"
    own = (f"{home}/", "data:", "blob:")
    assert [url for url in firefox.requests if not url.startswith(own)] == []
