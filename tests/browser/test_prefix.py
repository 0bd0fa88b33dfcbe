"""The page and the documentation below a path prefix, behind nginx and Caddy."""

from io import BytesIO
from types import SimpleNamespace

import httpx2
import numpy as np
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
from tests.conftest import ROOT, png
from tests.rigs.caddy import read_caddyfile, run_caddy
from tests.rigs.nginx import run_nginx
from tests.service.running import free_port

PREFIX = "/mynet/"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with run_service(tmp_path_factory.mktemp("service") / "var") as service:
        yield service


@pytest.fixture(scope="module")
def nginx(tmp_path_factory, service):
    """nginx as `deploy` configures it, which serves nothing but MyNet below the prefix."""
    port = free_port()
    location = to_port((ROOT / "deploy" / "nginx-prefix.conf").read_text(), service.port)
    site = f"server {{ listen 127.0.0.1:{port}; location / {{ return 404; }} {location} }}"
    with run_nginx(tmp_path_factory.mktemp("nginx") / "files", site):
        yield SimpleNamespace(port=port)


@pytest.fixture(scope="module")
def caddy(tmp_path_factory, service):
    """Caddy as the how-to page configures it, without TLS."""
    port = free_port()
    site = read_caddyfile(ROOT / "docs" / "how-to" / "path-prefix.md")
    assert site.count("site.example {") == 1
    site = to_port(site, service.port).replace("site.example", f"http://127.0.0.1:{port}")
    with run_caddy(tmp_path_factory.mktemp("caddy") / "files", site):
        yield SimpleNamespace(port=port)


def to_port(configuration, port):
    assert "127.0.0.1:8000" in configuration
    return configuration.replace("127.0.0.1:8000", f"127.0.0.1:{port}")


@pytest.fixture(params=["nginx", "caddy"])
def proxy(request):
    return request.getfixturevalue(request.param)


def test_page_below_a_prefix_reads_corrects_and_downloads(open_page, nginx):
    page = open_page(nginx, PREFIX)
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


def test_page_below_a_prefix_trains_and_rolls_back(open_page, proxy):
    page = open_page(proxy, "/mynet")  # the proxy adds the slash
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


def test_page_below_a_prefix_changes_and_removes_a_correction(open_page, proxy, digits):
    url = f"http://127.0.0.1:{proxy.port}{PREFIX}"
    with httpx2.Client(base_url=url, timeout=TIMEOUT) as client:
        files = {"file": ("digit.png", png(255 - digits[1]))}
        client.post("feedback", data={"label": 3}, files=files).raise_for_status()
    page = open_page(proxy, f"{PREFIX}#/corrections")
    grid = page.get_by_role("list", name="Corrections")
    grid.get_by_label("Change the digit of this image: 3").select_option("2")
    shows(page, "#corrections-said", "Saved as a 2 now, before as a 3.")
    grid.get_by_role("button", name="Remove this image: 2").click()
    shows(page, "#corrections-said", "Removed: a 2.")


def test_page_below_a_prefix_uploads_and_deletes_a_data_set(open_page, proxy, digits, tmp_path):
    for label, pixels in zip((7, 2), digits, strict=False):
        path = tmp_path / "own" / str(label) / "image.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(png(255 - pixels))
    page = open_page(proxy, f"{PREFIX}#/train")
    page.click("#data summary")
    page.click("#own-data")
    page.set_input_files("#folder", tmp_path / "own")
    page.click("#data-form button")
    dialog = page.get_by_role("dialog", name="Data sets")
    dialog.get_by_role("heading", name="own: 2 images").wait_for()
    dialog.get_by_role("button", name="Delete: own").click()
    page.click("#confirm-yes")
    dialog.get_by_role("button", name="Delete: own").wait_for(state="detached")


def test_data_set_that_is_larger_than_other_bodies_passes_the_proxy(proxy, mnist):
    content = BytesIO()
    count = 11 * 1024**2 // 784
    np.savez(content, images=mnist.train.pixels[:count], labels=mnist.train.labels[:count])
    url = f"http://127.0.0.1:{proxy.port}{PREFIX}"
    with httpx2.Client(base_url=url, timeout=TIMEOUT) as client:
        files = {"file": ("large.npz", content.getvalue())}
        answer = client.post("datasets", data={"name": "large"}, files=files)
        assert answer.status_code == 201, answer.text
        assert answer.json()["images"] == count
        client.delete(f"datasets/{answer.json()['id']}").raise_for_status()


def test_documentation_below_a_prefix_sends_requests(open_page, proxy):
    page = open_page(proxy, PREFIX)
    page.click("nav a[href=docs]")
    page.click("#operations-tag-health button")
    block = page.locator("#operations-health-get_live")
    block.locator(".opblock-summary-control").click()
    block.locator(".try-out__btn").click()
    block.locator(".execute").click()
    shows(page, ".live-responses-table tbody .response-col_status", "200")
    assert f":{proxy.port}/mynet/health/live" in block.locator(".request-url").text_content()


def test_job_below_a_prefix_has_a_location_that_exists(proxy):
    url = f"http://127.0.0.1:{proxy.port}"
    with httpx2.Client(base_url=url, timeout=TIMEOUT) as client:
        answer = client.post(f"{PREFIX}train", json={"epochs": 1, "promote": "never"})
        assert answer.headers["location"] == f"/mynet/train/{answer.json()['id']}"
        assert client.get(answer.headers["location"]).json()["id"] == answer.json()["id"]
