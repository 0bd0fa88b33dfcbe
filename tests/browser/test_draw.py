"""Digits drawn, dropped and typed are read, and put right."""

import re
from itertools import pairwise

import numpy as np
import pytest

from tests.browser.conftest import FOUR, ONE, SEVEN, draw, reads, shows
from tests.conftest import ROOT
from tests.service.running import wait_until

CALM = {"reduced_motion": "reduce"}  # an example is written at once
STATE = "#answer"
ROUNDS, STROKES = 15, 9
# Of the time to the answer on the page, and of a bare call, if the pen is lifted at once.
MAX_RATIO = 1.5
TIME_TO_ANSWER = """() => new Promise((done) => {
  let up;
  const canvas = document.getElementById("canvas");
  const lifted = () => (up = performance.now());
  canvas.addEventListener("pointerup", lifted, { capture: true, once: true });
  new MutationObserver((_, observer) => {
    observer.disconnect();
    done(performance.now() - up);
  }).observe(document.getElementById("said"), { childList: true });
})"""
TIME_OF_BARE_CALL = """async (image) => {
  const body = Uint8Array.from(atob(image), (character) => character.charCodeAt(0));
  const started = performance.now();
  const options = { method: "POST", body, cache: "no-store" };
  await (await fetch("predict", { ...options, headers: { "Content-Type": "image/png" } })).json();
  return performance.now() - started;
}"""
# Of the time from an explained answer to its picture (p90), and of a bare call. The goal is 10 ms.
# Two busy cores had 8 to 11 ms, which is 0.8 to 0.9 of a bare call.
MAX_PICTURE_RATIO, MIN_PICTURES = 1.5, 5  # the network is painted while ink flows
MOVES, PAUSE_MS = 60, 25
# Times from the moment when the page has read an explained answer, to the end of painting it.
MEASURE_PICTURES = """() => {
  let came = null;
  window.pictureTimes = [];
  const { json } = Response.prototype;
  Response.prototype.json = async function () {
    const content = await json.call(this);
    if (this.url.includes("explain=true")) came ??= performance.now();
    return content;
  };
  const context = document.getElementById("cells").getContext("2d");
  const { clearRect } = context;
  context.clearRect = function (...area) {
    clearRect.apply(context, area);
    if (came === null) return;
    const began = came;
    came = null;
    queueMicrotask(() => window.pictureTimes.push(performance.now() - began));
  };
}"""
# Pixels of the paper in the accent: of boxes, as ink has another colour.
ACCENTED = """() => {
  const canvas = document.getElementById("canvas");
  const context = canvas.getContext("2d");
  const accent = getComputedStyle(canvas).accentColor.match(/\\d+/g).slice(0, 3).map(Number);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const isNear = (i) => accent.every((tone, c) => Math.abs(tone - data[i + c]) < 16);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200 && isNear(i)) count++;
  return count;
}"""


def state(page):
    return page.get_attribute(STATE, "data-state")


def test_drawn_digits_are_read(open_page, service):
    page = open_page(service)
    assert state(page) == "nothing"
    assert page.is_hidden("#wrong"), "no correction before there is an answer"
    assert page.is_hidden("#camera"), "it would be a second file dialog on a desk"
    for digit, strokes in ((7, SEVEN), (1, ONE), (4, FOUR)):
        draw(page, strokes)
        reads(page, digit)
        shows(page, "#said", f"It is a {digit}")
        assert page.locator("#bars li.first b").text_content() == str(digit)
        assert page.locator("#bars li:visible").count() == 3
        for name in ("#sure", "#bars .first .share"):
            assert re.search(r"\d\u00a0%", page.locator(name).text_content()), "no line ends there"
        page.click("#clear")
    draw(page, SEVEN)
    shows(page, "#said", "It is a 7")
    page.click("#all-ten")
    assert page.locator("#bars li:visible b").all_text_contents() == list("0123456789")
    assert page.get_attribute("#all-ten", "aria-expanded") == "true"


def test_each_example_is_read(open_page, service):
    page = open_page(service, **CALM)
    for digit in "0123456789":
        page.click(f"[data-example='{digit}']")
        shows(page, "#said", f"It is a {digit}")
        page.click("#clear")
    page.click("#photo")
    shows(page, "#said", "It is a 7")


def test_what_is_not_one_digit_is_answered_by_a_sentence(open_page, service):
    expected = ["415", "Canvas2D"]  # Chromium minds that the test looks at the paper
    page = open_page(service, expected=expected, **CALM)
    page.click("[data-example='A']")
    shows(page, "#doubt", "not look")
    assert (state(page), page.is_visible("#digit")) == ("sentence", False)
    assert page.evaluate(ACCENTED) == 0, "one sign has no box"
    page.click("#clear")
    page.click("[data-example='12']")
    shows(page, "#lines", "12")
    assert "I see 2 digits" in page.locator("#doubt").text_content()
    assert not page.is_visible("#digit")
    # Two boxes around digits that are about half as high as the paper.
    height = page.locator("#canvas").evaluate("(canvas) => canvas.height")
    assert wait_until(lambda: page.evaluate(ACCENTED) > height)
    page.click("#clear")
    assert page.locator("#lines").is_hidden()
    assert page.evaluate(ACCENTED) == 0
    page.set_input_files("#file", ROOT / "README.md")
    shows(page, "#doubt", "not an image")
    shows(page, "#doubt .detail", re.compile("."))
    assert page.is_visible("#doubt .detail")
    assert (state(page), page.is_disabled("#code")) == ("sentence", True)


def test_the_answer_follows_the_stroke_and_stale_ones_are_dropped(open_page, service):
    page = open_page(service)
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 250, box["y"] + 80, steps=10)
    shows(page, "#digit", re.compile(r"\d"))
    shows(page, "#unit-name", "What it looked at")  # the network, too, before the pen is lifted
    assert state(page) == "digit", "the sentence waits for the pen to be lifted"
    page.mouse.up()
    page.click("#clear")
    page.wait_for_timeout(300)  # what was under way comes too late
    assert (state(page), page.locator("#digit").text_content()) == ("nothing", "?")
    assert page.locator("#unit-rows tr").count() == 0


def test_an_answer_that_came_while_ink_flowed_is_the_last_one(open_page, service):
    """Timers and frames stand still, so that the pen is lifted between a change and its timer."""
    page = open_page(service)
    page.clock.install(time=0)
    page.reload()
    page.clock.pause_at(3_600_000)  # later than any machine needs for the page
    held = []
    page.route("**/predict?explain=true", lambda route: held.append(route))
    box = page.locator("#canvas").bounding_box()

    def move(x, y):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])

    def has_asked(count):
        return wait_until(lambda: page.evaluate("() => 1") and len(held) == count)

    def is_settled():
        page.clock.run_for(50)
        return page.is_enabled("#wrong")

    move(0.3, 0.25)
    page.mouse.down()
    move(0.7, 0.25)
    page.clock.run_for(100)
    assert has_asked(1)
    move(0.56, 0.51)
    page.clock.run_for(100)  # the question waits for the answer to the one before it
    move(0.43, 0.77)
    held[0].continue_()
    assert has_asked(2)
    page.mouse.up()
    page.clock.run_for(100)
    held[1].continue_()
    assert wait_until(is_settled)
    reads(page, 7)
    page.clock.run_for(100)
    assert is_settled()
    assert len(held) == 2, "nothing is asked after the last answer"


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


def test_a_correction_is_kept_changed_and_taken_back(open_page, service):
    def stored():
        return [correction["label"] for correction in service.get("/feedback")["data"]]

    page = open_page(service, expected=["409"], **CALM)
    page.click("[data-example='1']")
    shows(page, "#said", "It is a 1")
    labels = page.locator("#labels button")
    labels.nth(7).click()
    shows(page, "#thanks", "Saved as a 7")
    assert labels.nth(7).get_attribute("aria-pressed") == "true"
    labels.nth(2).click()
    shows(page, "#thanks", "Changed to a 2")
    assert stored() == [2]
    page.click("#thanks button")  # the label before
    shows(page, "#thanks", "Changed to a 7")
    page.reload()
    page.click("[data-example='1']")
    shows(page, "#said", "It is a 1")
    labels.nth(1).click()  # the page does not know what was saved before
    shows(page, "#thanks", "another label")
    shows(page, "#thanks .detail", "label 7")
    assert stored() == [7]
    page.click("#thanks button")
    shows(page, "#thanks", "Changed to a 1")
    page.click("#thanks button")
    shows(page, "#thanks", "Taken back")
    assert stored() == []


def test_a_drawing_is_said_to_be_no_digit_and_taken_back(open_page, service):
    def stored():
        return [(each["label"], each["is_digit"]) for each in service.get("/feedback")["data"]]

    page = open_page(service, expected=["409"], **CALM)
    page.click("[data-example='1']")
    shows(page, "#said", "It is a 1")
    group = page.get_by_role("group", name="Wrong? It is a …")
    none, one = (group.get_by_role("button", name=name) for name in ("Not a digit", "1"))
    none.click()
    shows(page, "#thanks", "Saved as no digit. The next training with the recipe Robust")
    assert none.get_attribute("aria-pressed") == "true"
    assert stored() == [(None, False)]
    one.click()
    shows(page, "#thanks", "Changed to a 1.")
    page.click("#thanks button")  # the label before
    shows(page, "#thanks", "Changed to no digit.")
    assert (none.get_attribute("aria-pressed"), stored()) == ("true", [(None, False)])
    page.reload()
    page.click("[data-example='1']")
    shows(page, "#said", "It is a 1")
    one.click()
    shows(page, "#thanks", "another label")
    page.get_by_role("button", name="Change it to a 1").click()
    shows(page, "#thanks", "Changed to a 1.")
    page.click("#thanks button")
    shows(page, "#thanks", "Taken back")
    none.click()
    shows(page, "#thanks", "Saved as no digit.")
    page.click("#thanks button")
    shows(page, "#thanks", "Taken back")
    assert stored() == []
    page.evaluate("localStorage.setItem('language', 'pt')")
    page.reload()
    page.get_by_role("button", name="Não é dígito", include_hidden=True).wait_for(state="attached")


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


def test_two_versions_read_the_drawing_side_by_side(open_page, service):
    page = open_page(service)
    page.wait_for_selector("#right option", state="attached")
    page.select_option("#right", "1")  # the newest one may be of another test
    draw(page, SEVEN)
    shows(page, "#compared", "sure")
    assert page.locator("#compared .opinion b").all_text_contents() == ["7", "7"]
    assert page.locator("#left option:checked").text_content() == "Version 2, live"
    with page.expect_response("**/predict?version=1"):
        page.select_option("#left", "1")
    page.wait_for_selector("#compared .opinion")
    assert page.locator("#compared .opinion").count() == 2


@pytest.mark.parametrize("rests", [False, True], ids=["pen is lifted at once", "pen rests"])
def test_the_page_adds_little_to_the_time_of_a_bare_call(open_page, service, rests):
    """The page adds little to a call of the API: both medians are of one run, in turn.

    If the pen rests before it is lifted, the answer is on the page already. A round that another
    process disturbs is run again.
    """
    page = open_page(service)
    wait_until_quiet = quiet_of(page)
    draw(page, SEVEN)
    shows(page, "#said", "It is a 7")
    image = image_of(page)
    bound, ratios = 1.0 if rests else MAX_RATIO, []
    while not ratios or (min(ratios) > bound and len(ratios) < ROUNDS):
        page_times, api_times = [], []
        for _ in range(STROKES):
            wait_until_quiet()
            api_times.append(page.evaluate(TIME_OF_BARE_CALL, image))
            page.click("#clear")
            page_times.append(time_to_answer(page, wait_until_quiet if rests else None))
        ratios.append(float(np.median(page_times) / np.median(api_times)))
    print(f"pen-up to the answer: {[round(ratio, 2) for ratio in ratios]} of a bare call")
    assert min(ratios) <= bound


def image_of(page):
    """Return the image that the page sends of the drawing, in base64."""
    page.click("#code")
    shows(page, "#snippet", "base64,")
    image = re.search(r"base64,([^\"]+)", page.locator("#snippet").text_content())[1]
    page.keyboard.press("Escape")
    return image


def quiet_of(page):
    """Return a function that waits until the page waits for no answer, except for events."""
    pending = set()
    page.on("request", lambda request: request.url.endswith("/events") or pending.add(request))
    page.on("requestfinished", lambda request: pending.discard(request))
    page.on("requestfailed", lambda request: pending.discard(request))

    def wait():
        page.wait_for_timeout(150)  # what the page sends after a pause is on its way by then
        while pending:
            page.wait_for_timeout(20)

    return wait


def time_to_answer(page, rest):
    """Draw a seven, and return the milliseconds from lifting the pen to the answer on the page."""
    box = page.locator("#canvas").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN[0]]
    page.evaluate(f"() => {{ window.took = ({TIME_TO_ANSWER})(); }}")
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
    if rest:
        rest()
    page.mouse.up()
    return page.evaluate("() => window.took")


def test_the_picture_follows_the_explained_answer_sooner_than_a_bare_call_takes(open_page, service):
    """Both times are of one run. A round that another process disturbs is run again."""
    page = open_page(service)
    wait_until_quiet = quiet_of(page)
    with page.expect_response("**/models/2/weights*"):
        draw(page, SEVEN)
    shows(page, "#said", "It is a 7")
    image = image_of(page)
    page.evaluate(MEASURE_PICTURES)
    ratios = []
    while not ratios or (min(ratios) > MAX_PICTURE_RATIO and len(ratios) < ROUNDS):
        wait_until_quiet()
        api_times = [page.evaluate(TIME_OF_BARE_CALL, image) for _ in range(STROKES)]
        page.click("#clear")
        page.evaluate("() => (window.pictureTimes = [])")
        draw_slowly(page)
        times = page.evaluate("() => window.pictureTimes")
        p90 = float(np.percentile(times, 90)) if len(times) > MIN_PICTURES else float("inf")
        bare = float(np.median(api_times))
        print(f"answer to picture: p90 {p90:.1f} ms (n = {len(times)}); bare call: {bare:.1f} ms")
        ratios.append(p90 / bare)
    print(f"answer to picture: p90 is {[round(ratio, 2) for ratio in ratios]} of a bare call")
    assert min(ratios) < MAX_PICTURE_RATIO


def draw_slowly(page):
    """Draw a seven with many moves and a pause after each, and lift the pen."""
    box = page.locator("#canvas").bounding_box()
    corners = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN[0]]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for (ax, ay), (bx, by) in pairwise(corners):
        for step in np.linspace(0, 1, MOVES // 2):
            page.mouse.move(ax + step * (bx - ax), ay + step * (by - ay))
            page.wait_for_timeout(PAUSE_MS)
    page.mouse.up()
