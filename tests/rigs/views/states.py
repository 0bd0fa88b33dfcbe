"""The states of the page's views: where each is, and what leads to it."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tests.rigs.views.services import ADMIN_KEY

Act = Callable[[Any], None]
LONG_MS: Final = 60_000


def _nothing(page: Any) -> None:
    page.wait_for_timeout(300)


def _example(name: str) -> Act:
    def act(page: Any) -> None:
        page.click(f"[data-example='{name}']")
        page.wait_for_selector("#compared .opinion")
        page.wait_for_selector("#unit-rows tr", state="attached")
        page.wait_for_timeout(400)

    return act


def _click(*selectors: str, before: Act = _nothing) -> Act:
    def act(page: Any) -> None:
        before(page)
        for selector in selectors:
            page.locator(selector).first.click()
        page.wait_for_timeout(400)

    return act


def _cell(page: Any) -> None:
    _example("3")(page)
    page.focus("#cells")
    for key in ["ArrowRight"] * 2 + ["ArrowDown"] * 3:
        page.keyboard.press(key)


def _drawn_then_train(page: Any) -> None:
    _example("3")(page)
    page.click("nav a[href='#/train']")
    _trained(page)


def _trained(page: Any) -> None:
    page.locator("#jobs a:not([href*=sweep])").last.click()
    page.wait_for_selector("#result:not(:empty)")
    page.wait_for_timeout(600)


def _why(page: Any) -> None:
    _drawn_then_train(page)
    page.click("#result .row button")
    page.wait_for_selector("#result .tried")
    page.locator("#result summary").click()


def _several(page: Any) -> None:
    _trained(page)
    for i in range(2):
        page.locator("#jobs input:not(:checked)").nth(i).check()
    page.wait_for_timeout(500)


def _confused(page: Any) -> None:
    page.locator("#confusion button").nth(49).click()
    page.wait_for_selector(".wall img")


def _compared(page: Any) -> None:
    page.goto(page.url.split("#")[0] + "#/versions/1,2")
    page.wait_for_selector("#figures-fold[open]")
    page.wait_for_timeout(300)


def _key_dialog(page: Any) -> None:
    page.click("#give-key")
    page.fill("#key", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#key-said:not(:empty)")


def _keys(page: Any) -> None:
    _key_dialog(page)
    page.fill("#key", ADMIN_KEY)
    page.keyboard.press("Enter")
    page.click("#manage-keys")
    page.wait_for_selector("#key-rows tr")


def _report(page: Any) -> None:
    _click("#data summary", "#own-data")(page)
    page.locator("#data-rows button").first.click()
    page.wait_for_selector("#report h3")
    page.wait_for_timeout(400)


class State(NamedTuple):
    """A view: which service shows it, at which address, and what leads there."""

    service: str
    path: str
    act: Act = _nothing


STATES: Final = {
    "draw": State("used", "/#/draw"),
    "draw-digit": State("used", "/#/draw", _example("3")),
    "draw-all-ten": State("used", "/#/draw", _click("#all-ten", before=_example("3"))),
    "draw-not-a-digit": State("used", "/#/draw", _example("A")),
    "draw-several": State("used", "/#/draw", _example("12")),
    "draw-cell": State("used", "/#/draw", _cell),
    "draw-code": State("used", "/#/draw", _click("#code", before=_example("1"))),
    "train-empty": State("fresh", "/#/train"),
    "train-advanced": State("fresh", "/#/train", _click("#advanced summary", "#data summary")),
    "train-ended": State("used", "/#/train", _trained),
    "train-tried": State("used", "/#/draw", _why),
    "train-several": State("used", "/#/train", _several),
    "train-failed": State("used", "/#/train", _click("#jobs li[data-status=failed] a")),
    "train-sweep": State("used", "/#/train", _click("#jobs li.sweep a")),
    "train-delete": State("used", "/#/train", _click("#delete-job", before=_trained)),
    "datasets-empty": State("fresh", "/#/train", _click("#data summary", "#own-data")),
    "datasets": State("used", "/#/train", _report),
    "versions": State("used", "/#/versions"),
    "versions-cell": State("used", "/#/versions", _confused),
    "versions-figures": State("used", "/#/versions", _click("#figures-fold summary")),
    "versions-compared": State("used", "/#/versions", _compared),
    "versions-promote": State("used", "/#/versions", _click("#rows td:last-child button")),
    "corrections-empty": State("fresh", "/#/corrections"),
    "corrections": State("used", "/#/corrections"),
    "corrections-one": State(
        "used", "/#/corrections", _click("#corrections-filter button + button")
    ),
    "api": State("used", "/docs"),
    "locked-draw": State("locked", "/#/draw"),
    "locked-train": State("locked", "/#/train"),
    "locked-versions": State("locked", "/#/versions"),
    "key": State("locked", "/#/draw", _key_dialog),
    "keys": State("locked", "/#/draw", _keys),
}
# These are of a job that runs.
RUNNING: Final = {
    "train-running": State("used", "/#/train"),
    "draw-pill": State("used", "/#/draw"),
}
