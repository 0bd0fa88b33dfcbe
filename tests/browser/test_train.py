"""Training, watched: curves, reload, two tabs, pause, refusals; versions; a key."""

import re

import pytest

from tests.browser.conftest import SEVEN, draw, reads, shows
from tests.service.running import run_service


def dots(page):
    return page.locator("#accuracy-chart circle").count()


def test_a_training_is_watched_reloaded_and_goes_live(open_page, service):
    page = open_page(service)
    page.fill("input[name=epochs]", "3")
    page.click("#advanced summary")
    page.select_option("select[name=promote]", "always")
    page.fill("input[name=seed]", "7")
    page.click("#wishes button[type=submit]")
    shows(page, "#accuracy-now", "%", 60)
    page.reload()
    other = open_page(service)
    for tab in (page, other):
        shows(tab, "#job-title", "Trained", 120)
        shows(tab, "#result", "is live")
        assert dots(tab) == 3
    assert len(page.locator("#loss-chart polyline.train").get_attribute("points").split()) > 12
    page.click("#log-fold summary")
    shows(page, "#log", "==>>> epoch: 2, batch index: 600, train loss: ")
    live = service.get("/health/ready")["version"]
    shows(page, "#rows tr:first-child .badge", "Live")
    shows(page, "#rows tr:first-child .pick", str(live))
    shows(page, "#s-version", str(live))
    page.click("#rollback")
    shows(page, "#versions-said", "is live")
    assert service.get("/health/ready")["version"] != live


def test_a_job_is_paused_resumed_and_cancelled(open_page, service):
    page = open_page(service)
    page.fill("input[name=epochs]", "300")
    page.click("#wishes button[type=submit]")
    shows(page, "#eta", "left", 60)
    for title in ("Paused", re.compile("Waiting|Training")):
        page.click("#pause")
        shows(page, "#job-title", title)
    page.click("#cancel")
    shows(page, "#job-title", "Cancelled")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", "0", "1 or more"),
        ("epochs", "1.5", "whole"),
        ("batch_size", "60001", "60,000 or less"),
        ("learning_rate", "0", "more than 0"),
        ("momentum", "1", "less than 1"),
        ("device", "tpu", "cuda"),
    ],
)
def test_wrong_wishes_are_refused_beside_the_field(open_page, service, name, value, message):
    page = open_page(service)
    page.click("#advanced summary")
    page.fill(f"input[name={name}]", value)
    page.click("#wishes button[type=submit]")
    shows(page, f"#bad-{name}", message)
    assert page.get_attribute(f"input[name={name}]", "aria-invalid") == "true"


def test_versions_are_looked_at_compared_and_downloaded(open_page, service):
    page = open_page(service)
    draw(page, SEVEN)
    reads(page, 7)
    page.click("#rows tr:last-child .pick")
    shows(page, "#confusion-title", "version 1 confuses")
    page.click("#confusion tr:nth-child(6) td:nth-child(11) button")
    shows(page, "#behind h3", "4 read as 9")
    page.wait_for_selector(".wall img")
    assert page.locator("#compared .opinion b").all_text_contents() == ["7", "7"]
    with page.expect_download() as download:
        page.click("#downloads button >> text=pt")
    assert download.value.suggested_filename == "mynet-1.pt"


def test_a_key_is_asked_for_where_the_service_wants_one(open_page, tmp_path):
    settings = {"auth": "keys", "admin_key": "a-key-of-some-length"}
    with run_service(tmp_path / "var", **settings) as locked:
        page = open_page(locked, expected=["401"])
        page.wait_for_selector("#give-key:visible")
        assert not page.is_visible("#key-dialog"), "no request has needed a key yet"
        draw(page, SEVEN)
        page.fill("#key", settings["admin_key"])
        page.keyboard.press("Enter")
        reads(page, 7)
        page.wait_for_selector("#rows .pick")
        stored = (
            "() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"
        )
        assert settings["admin_key"] not in page.evaluate(stored)
        page.close()  # before the service stops: the page would retry
