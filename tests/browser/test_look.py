"""How the page looks and speaks: languages, themes, sizes, accessibility, weight, policy."""

import pytest

from tests.browser.conftest import (
    LOOKS,
    ONE,
    PHONE,
    SEVEN,
    draw,
    reads,
    run_service,
    serious_of,
    shows,
    visit,
)

MAX_TRANSFER_BYTES = 160_000  # bytes over the wire at first load
SHIFTS = """() => new Promise((done) => {
  new PerformanceObserver((list) => done(list.getEntries().map((each) => each.value)))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done([]), 1000);
})"""


@pytest.mark.parametrize("options", LOOKS)
def test_axe_finds_nothing_serious(open_page, service, axe, options):
    page = open_page(service, **options)
    draw(page, SEVEN)
    reads(page, 7)
    assert serious_of(page, axe) == {}
    visit(page, "train")
    page.click("#advanced summary")
    assert serious_of(page, axe) == {}
    visit(page, "versions")
    page.locator("#confusion button").nth(5).click()
    page.wait_for_selector("#behind h3")
    assert serious_of(page, axe) == {}


def test_both_languages(open_page, service):
    page = open_page(service, locale="pt-BR")
    shows(page, "#draw h1", "Desenhe um dígito")
    assert page.get_attribute("html", "lang") == "pt-BR"
    page.click("#language")
    shows(page, "#draw h1", "Draw a digit")
    page.reload()
    shows(page, "#draw h1", "Draw a digit")


def test_both_themes(open_page, service):
    page = open_page(service, color_scheme="dark")

    def paper():
        return page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor")

    dark = paper()
    page.click("#theme")
    light = paper()
    assert light != dark
    page.reload()
    assert paper() == light


def test_a_phone_shows_paper_and_answer_at_once(open_page, service):
    page = open_page(service, **PHONE)
    draw(page, ONE)
    reads(page, 1)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    for name in ("#canvas", "#digit", "#bars", "#theme"):
        box = page.locator(name).bounding_box()
        assert box["x"] + box["width"] <= 390, name
        assert box["y"] + box["height"] <= 844, name


def test_a_view_fits_on_one_screen(open_page, service):
    page = open_page(service, viewport={"width": 1440, "height": 900})
    draw(page, SEVEN)
    reads(page, 7)
    height = "() => document.documentElement.scrollHeight"
    for address, ready in (
        ("#/draw", "#compared .opinion"),
        ("#/train", "#loss-chart svg"),
        ("#/versions/1,2", "#figures-fold[open] tr"),
        ("#/corrections", "#corrections-title"),
    ):
        page.goto(page.url.split("#")[0] + address)
        page.wait_for_selector(ready)
        assert page.evaluate(height) <= 900, address


@pytest.mark.parametrize("view", ["/", "/#/train", "/#/versions/1,2", "/#/corrections"])
@pytest.mark.parametrize("locale", ["en-GB", "pt-BR"])
def test_a_narrow_screen_does_not_scroll_sideways(open_page, service, view, locale):
    page = open_page(service, view, viewport={"width": 320, "height": 640}, locale=locale)
    page.wait_for_selector("#rows .pick", state="attached")
    if view == "/":
        draw(page, SEVEN)
        reads(page, 7)
        page.click("#all-ten")
    assert page.evaluate("() => document.documentElement.scrollWidth") == 320


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("/", {"canvas", "open", "photo", "left", "right", "cells"}),
        ("/#/train", {"epochs", "own-data"}),
        ("/#/versions", {"upload-version", "compared-with"}),
    ],
)
def test_keys_alone_reach_everything(open_page, service, view, expected):
    page = open_page(service, view)
    page.wait_for_selector("#rows .pick", state="attached")
    page.evaluate("document.querySelectorAll('#data').forEach((each) => (each.open = true))")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id || document.activeElement.name"))
    assert {"language", "theme", *expected} <= reached


def test_the_first_load_is_small_and_does_not_shift(open_page, tmp_path):
    sizes = "() => performance.getEntries().map((each) => each.transferSize ?? 0)"
    with run_service(tmp_path / "var") as fresh:
        page = open_page(fresh)
        page.wait_for_selector("#rows .pick", state="attached")
        assert sum(page.evaluate(SHIFTS)) == 0
        bytes_sent = sum(page.evaluate(sizes))
        page.close()
    print(f"first load: {bytes_sent} bytes over the wire")
    assert 10_000 < bytes_sent <= MAX_TRANSFER_BYTES


def test_the_documentation_works_under_the_policy(open_page, service):
    page = open_page(service, "/docs")
    page.wait_for_selector(".opblock")
    page.locator(".opblock-summary-control").first.click()
    page.wait_for_selector(".opblock-body")
