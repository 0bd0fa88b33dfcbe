"""Versions, keys and the paper: answers that come late, presses that come twice."""

import re

from tests.browser.conftest import FOUR, ONE, draw, reads, run_service, shows, visit
from tests.browser.late_answers.holding import Held, ended_job
from tests.browser.test_keys import ADMIN_KEY, give_key
from tests.service.running import wait_until

# Lets pictures be decoded only when the test says so.
SLOW_PICTURES = """() => {
  const decode = window.createImageBitmap;
  window.decoding = new Promise((resolve) => (window.decodeNow = resolve));
  window.createImageBitmap = async (...values) => {
    window.isDecoding = true;
    await window.decoding;
    return decode(...values);
  };
}"""


def test_images_of_another_version_do_not_appear(open_page, service):
    page = open_page(service, "/#/versions/1")
    cell = page.get_by_role("button", name=re.compile("^4 read as 9: "))
    with Held(page, "**/models/1/errors?*") as held:
        cell.click()
        held.wait()
        page.get_by_role("link", name="Show version 2", exact=True).click()
        shows(page, "#confusion-title", "What version 2 confuses")
        with page.expect_response("**/models/1/errors?*"):
            held.release()
    page.wait_for_timeout(100)
    assert page.locator("#behind").inner_text() == ""


def test_a_version_that_was_trained_unwatched_is_there_when_versions_are_opened(open_page, service):
    page = open_page(service)
    shows(page, "#s-version", re.compile(r"\d"))
    with Held(page, "**/train?limit=10") as held:
        held.wait()  # so that the page hears nothing of the job
        job = ended_job(service)
        version = service.get(f"/train/{job}")["result"]["version"]
        visit(page, "versions")
        page.get_by_role("link", name=f"Show version {version}", exact=True).wait_for()


def test_what_has_not_changed_is_not_drawn_again(open_page, service):
    """A button that is replaced between press and release would get no click."""
    page = open_page(service, "/#/versions")
    buttons = [
        page.get_by_role("button", name=re.compile(name)).first
        for name in ("Make it live 1$", "^4 read as 9: ", "Weights of version . as pt")
    ]
    handles = [button.element_handle() for button in buttons]
    visit(page, "draw")
    with page.expect_response(re.compile(r"/models/\d+$")):
        visit(page, "versions")
    page.wait_for_timeout(100)
    assert all(handle.evaluate("(button) => button.isConnected") for handle in handles)


def test_a_key_is_made_once_however_often_it_is_pressed(open_page, tmp_path):
    settings = {"auth": "keys", "admin_key": ADMIN_KEY}
    with run_service(tmp_path / "var", **settings) as service:
        page = open_page(service, expected=["401"])
        give_key(page, ADMIN_KEY)
        page.click("#manage-keys")
        page.fill("#new-key [name=name]", "twice")
        with Held(page, "**/keys", method="POST") as held:
            for _ in range(2):
                page.dispatch_event("#new-key button[type=submit]", "click")
            held.wait()
            held.release()
        shows(page, "#key-rows", "twice")
        assert page.locator("#key-rows tr").count() == 1
        page.close()


def test_a_picture_that_is_decoded_late_does_not_replace_a_drawing(open_page, service):
    page = open_page(service)
    page.evaluate(SLOW_PICTURES)
    page.click("#photo")
    assert wait_until(lambda: page.evaluate("() => window.isDecoding"))
    draw(page, FOUR)
    reads(page, 4)
    page.evaluate("() => window.decodeNow()")
    page.wait_for_timeout(300)
    draw(page, ONE)
    page.click("#undo")
    reads(page, 4)


def test_the_page_asks_again_after_an_answer_that_broke_off(open_page, service):
    page = open_page(service, expected=["Failed to load"])
    shows(page, "#s-state", "ready")
    page.route("**/train?limit=10", lambda route: route.fulfill(status=200, body="{"))
    page.route("**/health/ready", lambda route: route.fulfill(status=200, body="{"))
    shows(page, "#s-state", "no answer")
    page.unroute("**/train?limit=10")
    page.unroute("**/health/ready")
    shows(page, "#s-state", "ready")
