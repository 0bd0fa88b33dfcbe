"""A service, Chromium, and pages that may say nothing on the console."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.programs import find_program
from tests.service.running import run_service

CALM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DESK = {"width": 1280, "height": 800}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "device_scale_factor": 2}
LOOKS = [{}, {"color_scheme": "dark"}, {**PHONE, "locale": "pt-BR"}]
# Playwright waits 5 s for an assertion and 30 s for an action: too little on a loaded machine.
TIMEOUT_MS = 120_000
TIMEOUT = 120  # seconds of a client
LONG = 600  # seconds, in which a loaded machine trains, too
# Strokes of digits, as points of a unit square.
SEVEN = [[(0.3, 0.25), (0.7, 0.25), (0.43, 0.77)]]
ONE = [[(0.5, 0.2), (0.5, 0.8)]]
FOUR = [[(0.38, 0.2), (0.32, 0.5), (0.66, 0.5)], [(0.6, 0.3), (0.58, 0.8)]]


@pytest.fixture(scope="session")
def chromium():
    command = find_program("chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="an extra: make test-browser")
    playwright.expect.set_options(timeout=TIMEOUT_MS)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=command, args=CALM)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe():
    found = find_spec("axe_playwright_python")
    if found is None:
        pytest.skip("an extra: make test-browser")
    return (Path(found.origin).parent / "axe.min.js").read_text()


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    with run_service(tmp_path_factory.mktemp("browser") / "var") as service:
        yield service


@pytest.fixture
def open_page(chromium):
    """Opens pages; when the test has ended, none has said an error or asked anybody else."""
    messages, contexts = [], []

    def open_page(service, path="/", expected=(), **options):
        context = chromium.new_context(**{"viewport": DESK, "locale": "en-GB", **options})
        context.set_default_timeout(TIMEOUT_MS)
        contexts.append(context)
        page = context.new_page()
        home = f"http://127.0.0.1:{service.port}"

        def hear(message):
            # Chromium tells of each status over 399, also where the page handles it.
            if message.type in ("error", "warning") and not any(
                s in message.text for s in expected
            ):
                messages.append(message.text)

        def ask(request):
            if not request.url.startswith((home, "data:", "blob:")):
                messages.append(f"asked {request.url}")

        page.on("console", hear)
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", ask)
        page.goto(f"{home}{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []


def draw(page, strokes, steps=12):
    """Draw on the canvas with the mouse, and lift it."""
    box = page.locator("#canvas").bounding_box()

    def move(point, steps):
        x, y = box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]
        page.mouse.move(x, y, steps=steps)

    for first, *rest in strokes:
        move(first, 1)
        page.mouse.down()
        for point in rest:
            move(point, steps)
        page.mouse.up()


def visit(page, view):
    """Go to a view by its tab."""
    page.click(f'nav a[href="#/{view}"]')


def reads(page, digit):
    """Wait until the page shows this digit."""
    shows(page, "#digit", re.compile(f"^{re.escape(str(digit))}$"))


def walk(page, view, seconds=120):
    """Walk the path of a screen reader that docs/reference/page.md has for a view."""
    text = (ROOT / "docs" / "reference" / "page.md").read_text()
    [section] = re.findall(rf"^## {view}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    steps = re.findall(r'^\d+\. (Meet|Press) `(\w+) "([^"]*)"`', section, re.MULTILINE)
    assert len(steps) == len(re.findall(r"^\d+\.", section, re.MULTILINE)) > 10
    for verb, role, name in steps:
        words = re.compile(re.escape(name).replace("…", ".*"))
        if role == "status":  # its content is no name
            found = page.get_by_role(role).filter(has_text=words)
        else:
            found = page.get_by_role(role, name=words)
        found.first.wait_for(state="attached", timeout=1000 * seconds)
        if verb == "Press":
            found.first.click()


def serious_of(page, axe):
    """Return the serious violations that axe finds, each with its elements."""
    page.evaluate(axe)
    violations = page.evaluate("async () => (await axe.run()).violations")
    return {
        violation["id"]: [node["html"] for node in violation["nodes"]]
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    }


def shows(page, selector, text, seconds=120):
    """Wait until an element has this in its text. (`wait_for_function` wants eval.)"""
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(page.locator(selector)).to_contain_text(text, timeout=1000 * seconds)
