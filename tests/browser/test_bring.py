"""Digits brought by pen, by finger, by drop, paste and camera; and how often the page asks."""

import base64

import pytest

from tests.browser.conftest import PHONE, SEVEN, draw, reads
from tests.conftest import ROOT
from tests.service.running import wait_until

REQUEST_INTERVAL_MS = 60  # milliseconds, as draw/reader.js says
PHOTO = ROOT / "docs/images/seven.jpg"
BRING = """([kind, bytes]) => {
  const content = Uint8Array.from(atob(bytes), (each) => each.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([content], "seven.jpg", { type: "image/jpeg" }));
  const event = kind === "paste"
    ? new ClipboardEvent(kind, { clipboardData: carried, bubbles: true })
    : new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true });
  document.getElementById("canvas").dispatchEvent(event);
}"""
PEN = """([points, pressure]) => {
  const canvas = document.getElementById("canvas");
  canvas.setPointerCapture = () => {}; // there is no such pointer
  const box = canvas.getBoundingClientRect();
  const tell = (kind, [x, y]) => canvas.dispatchEvent(new PointerEvent(kind, {
    pointerId: 7, pointerType: "pen", pressure, bubbles: true,
    clientX: box.left + x * box.width, clientY: box.top + y * box.height,
  }));
  tell("pointerdown", points[0]);
  for (const point of points.slice(1)) tell("pointermove", point);
  tell("pointerup", points.at(-1));
}"""
INK = """() => {
  const canvas = document.getElementById("canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((each, i) => i % 4 === 3 && each > 128).length;
}"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_an_image_is_dropped_or_pasted(open_page, service, kind):
    page = open_page(service)
    page.evaluate(BRING, [kind, base64.b64encode(PHOTO.read_bytes()).decode()])
    reads(page, 7)


def test_a_photo_is_taken(open_page, service):
    page = open_page(service, **PHONE)
    camera = page.locator("input[type=file][capture]")
    assert camera.get_attribute("capture") == "environment"
    with page.expect_file_chooser() as chooser:
        page.click("#camera")
    chooser.value.set_files(PHOTO)
    reads(page, 7)


def test_a_finger_draws_and_the_page_stays(open_page, service):
    page = open_page(service, **PHONE)
    box = page.locator("#canvas").bounding_box()
    finger = page.context.new_cdp_session(page)

    def touch(kind, *points):
        touch_points = [
            {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in points
        ]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touch_points})

    touch("touchStart", (0.5, 0.2))
    for step in range(1, 13):
        touch("touchMove", (0.5, 0.2 + step * 0.05))
    touch("touchEnd")
    reads(page, 1)
    assert page.evaluate("() => scrollY") == 0


def test_who_presses_harder_draws_wider(open_page, service):
    page = open_page(service, expected=["Canvas2D"])  # which minds that the test looks at the ink
    (stroke,) = SEVEN
    widths = []
    for pressure in (0.1, 0.9):
        page.evaluate(PEN, [stroke, pressure])
        reads(page, 7)
        widths.append(page.evaluate(INK))
        page.click("#clear")
    light, hard = widths
    assert hard > 1.5 * light


def test_the_page_asks_no_more_often_than_it_says(open_page, service):
    page = open_page(service)
    draw(page, SEVEN)
    reads(page, 7)
    page.click("#clear")
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    # From before the first request: on a busy machine it begins later than the page's clock says.
    began_at = page.evaluate("() => (performance.clearResourceTimings(), performance.now())")
    for step in range(200):
        page.mouse.move(box["x"] + 50 + step, box["y"] + 50 + step)

    def start_times():
        return page.evaluate(
            "() => performance.getEntriesByType('resource')"
            ".filter((each) => each.name.includes('/predict')).map((each) => each.startTime)"
        )

    assert wait_until(lambda: len(start_times()) > 1)  # they are listed once they are answered
    times = start_times()
    page.mouse.up()
    assert (len(times) - 1) * REQUEST_INTERVAL_MS <= 1.05 * (times[-1] - began_at)


def test_corrections_are_asked_to_be_learnt(open_page, service):
    page = open_page(service, "/#/train")
    page.fill("input[name=epochs]", "1")
    page.click("#advanced summary")
    page.check("input[name=include_feedback]")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        page.click("#train-form button[type=submit]")
    assert answer.value.request.post_data_json["include_feedback"] is True
    job = service.job_until(answer.value.json()["id"], lambda body: body["finished_at"])
    assert service.get(f"/models/{job['result']['version']}")["feedback"] is not None
