"""Digits drawn, dropped and typed are read, and put right."""

import re
import time

import numpy as np
import pytest

from tests.browser.conftest import FOUR, ONE, SEVEN, draw, reads, shows
from tests.conftest import ROOT

UP_TO_DIGIT = """() => new Promise((done) => {
  let up;
  const canvas = document.getElementById("canvas");
  const lifted = () => (up = performance.now());
  canvas.addEventListener("pointerup", lifted, { capture: true, once: true });
  const of = (each) => up && each.name.endsWith("/predict") && each.startTime >= up;
  new PerformanceObserver((list) => {
    const found = list.getEntries().find(of);
    if (found) requestAnimationFrame(() => done([found.startTime - up, performance.now() - up]));
  }).observe({ type: "resource" });
})"""


@pytest.mark.parametrize(("digit", "strokes"), [(7, SEVEN), (1, ONE), (4, FOUR)])
def test_a_drawn_digit_is_read(open_page, service, digit, strokes):
    page = open_page(service)
    draw(page, strokes)
    reads(page, digit)
    assert page.locator("#bars li.first b").text_content() == str(digit)
    page.wait_for_selector("#seen[src]")
    page.click("#explain")
    assert page.locator("#saliency").evaluate("image => image.naturalWidth") == 28
    assert str(digit) in page.locator("#said").text_content()


def test_the_answer_follows_the_stroke_and_stale_ones_are_dropped(open_page, service):
    page = open_page(service)
    requests = []
    page.on(
        "request", lambda request: requests.append(request) if "/predict" in request.url else None
    )
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 100, steps=10)
    shows(page, "#digit", re.compile(r"\d"))
    assert requests, "before the pen is lifted"
    page.mouse.up()
    page.click("#clear")
    page.wait_for_timeout(300)  # what was under way comes too late
    assert page.locator("#digit").text_content() == "?"


def test_undo_takes_back_a_stroke(open_page, service):
    page = open_page(service)
    draw(page, SEVEN)
    reads(page, 7)
    page.click("#clear")
    reads(page, "?")
    page.click("#undo")
    reads(page, 7)
    page.click("#undo")
    reads(page, "?")


def test_a_file_is_read(open_page, service):
    page = open_page(service)
    page.set_input_files("#file", ROOT / "docs/images/seven.jpg")
    reads(page, 7)


def test_a_scribble_is_no_digit(open_page, service):
    page = open_page(service)
    zigzag = [(0.1 + 0.8 * i / 11, 0.1 if i % 2 else 0.9) for i in range(12)]
    draw(page, [zigzag, [(y, x) for x, y in zigzag]], steps=3)
    shows(page, "#doubt", "not look")


def test_what_is_no_image_is_refused_in_words(open_page, service):
    page = open_page(service, expected=["415"])
    page.set_input_files("#file", ROOT / "README.md")
    shows(page, "#doubt", "not an image")


def test_a_correction_is_kept_and_settled(open_page, service):
    page = open_page(service, expected=["409"])
    draw(page, ONE)
    reads(page, 1)
    labels = page.locator("#labels button")
    with page.expect_response("**/feedback*") as answer:
        labels.nth(7).click()
    assert answer.value.status == 201
    with page.expect_response("**/feedback*") as answer:
        labels.nth(7).click()
    assert answer.value.status == 200
    with page.expect_response("**/feedback*") as answer:
        labels.nth(1).click()
    assert answer.value.status == 409
    page.locator("#thanks button").click()
    shows(page, "#thanks", "Saved as a 1")
    assert [correction["label"] for correction in service.get("/feedback")["data"]] == [1]


def test_keys_draw(open_page, service):
    page = open_page(service)
    page.focus("#canvas")
    page.keyboard.press("Space")
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    reads(page, 1)
    page.keyboard.press("Delete")
    reads(page, "?")


def test_how_long_from_pen_up_to_the_digit(open_page, service):
    """The request leaves with the pen; figures are printed beside those of a bare call."""
    page = open_page(service)
    draw(page, ONE)
    reads(page, 1)
    request_times, answer_times = [], []
    for _ in range(10):
        page.click("#clear")
        page.evaluate(f"() => {{ window.took = ({UP_TO_DIGIT})(); }}")
        draw(page, SEVEN)
        left, took = page.evaluate("() => window.took")
        request_times.append(left)
        answer_times.append(took)
    image = (ROOT / "docs/images/seven.jpg").read_bytes()
    api_times = []
    for _ in range(20):
        started = time.perf_counter()
        service.post("/predict", image)
        api_times.append(1000 * (time.perf_counter() - started))
    medians = [f"{np.median(times):.1f} ms" for times in (request_times, answer_times, api_times)]
    print("pen-up to request {}, to the digit {}; a bare call of the API {}".format(*medians))
