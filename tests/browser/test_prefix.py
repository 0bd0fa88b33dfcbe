"""The page and the documentation below a path prefix, behind nginx as `deploy` configures it."""

from types import SimpleNamespace

import httpx2
import pytest

from tests.browser.conftest import (
    LONG,
    SEVEN,
    TIMEOUT,
    draw,
    reads,
    run_service,
    shows,
    visit,
)
from tests.conftest import ROOT
from tests.rigs.nginx import run_nginx
from tests.service.running import free_port

PREFIX = "/mynet/"


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """nginx, which serves nothing but MyNet below the prefix."""
    folder, port = tmp_path_factory.mktemp("prefix"), free_port()
    with run_service(folder / "var") as service:
        location = (ROOT / "deploy" / "nginx-prefix.conf").read_text()
        assert location.count("127.0.0.1:8000") == 1
        location = location.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}")
        site = f"server {{ listen 127.0.0.1:{port}; location / {{ return 404; }} {location} }}"
        with run_nginx(folder / "nginx", site):
            yield SimpleNamespace(port=port)


def test_page_below_a_prefix_reads_corrects_and_downloads(open_page, front):
    page = open_page(front, PREFIX)
    draw(page, SEVEN)
    reads(page, 7)
    shows(page, "#unit-rows", "Layer 1")
    page.click("#labels button:nth-child(2)")
    shows(page, "#thanks", "Saved as a 1")
    shows(page, "#s-state", "ready")
    visit(page, "versions")
    shows(page, "#confusion-title", "version")
    page.click("#confusion tr:nth-child(6) td:nth-child(11) button")
    page.wait_for_selector("#behind img")
    with page.expect_download() as download:
        page.click("#downloads button:has-text('safetensors')")
    assert download.value.suggested_filename.startswith("mynet-")


def test_page_below_a_prefix_trains_and_rolls_back(open_page, front):
    page = open_page(front, "/mynet")  # nginx adds the slash
    visit(page, "train")
    page.fill("input[name=epochs]", "1")
    page.click("#advanced summary")
    page.select_option("select[name=promote]", "always")
    page.click("#train-form button[type=submit]")
    shows(page, "#result", "is live", LONG)
    visit(page, "versions")
    page.click("#rollback")
    page.click("#confirm-yes")
    shows(page, "#versions-said", "is live")


def test_documentation_below_a_prefix_sends_requests(open_page, front):
    page = open_page(front, PREFIX)
    page.click("nav a[href=docs]")
    page.wait_for_selector(".opblock")
    block = page.locator("#operations-health-get_live")
    block.locator(".opblock-summary-control").click()
    block.locator(".try-out__btn").click()
    block.locator(".execute").click()
    shows(page, ".live-responses-table tbody .response-col_status", "200")
    assert f":{front.port}/mynet/health/live" in block.locator(".request-url").text_content()


def test_job_below_a_prefix_has_a_location_that_exists(front):
    url = f"http://127.0.0.1:{front.port}"
    with httpx2.Client(base_url=url, timeout=TIMEOUT) as client:
        answer = client.post(f"{PREFIX}train", json={"epochs": 1, "promote": "never"})
        assert answer.headers["location"] == f"/mynet/train/{answer.json()['id']}"
        assert client.get(answer.headers["location"]).json()["id"] == answer.json()["id"]
