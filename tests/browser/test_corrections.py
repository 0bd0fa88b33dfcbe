"""Corrections on the page: a grid of images, changed, removed, taken back, and learned from."""

from contextlib import contextmanager

import httpx2

from tests.browser.conftest import TIMEOUT, run_service, serious_of, shows
from tests.conftest import png
from tests.service.running import wait_until

NO_DIGIT = 10  # stands for null, so that labels can be sorted


@contextmanager
def service_with(folder, corrections):
    """A service with corrections, and what returns their labels."""
    with run_service(folder / "var") as service:
        url = f"http://127.0.0.1:{service.port}"
        with httpx2.Client(base_url=url, timeout=TIMEOUT) as client:
            for pixels, label in corrections:
                files = {"file": ("digit.png", png(255 - pixels))}
                client.post("/feedback", data={"label": label}, files=files).raise_for_status()

        def labels():
            found = [each["label"] for each in service.get("/feedback")["data"]]
            return sorted(NO_DIGIT if label is None else label for label in found)

        yield service, labels


def test_nothing_yet(open_page, tmp_path):
    with service_with(tmp_path, ()) as (service, _):
        page = open_page(service, "/#/corrections")
        shows(page, "#no-corrections", "None yet.")
        page.close()  # before the service stops: the page would retry


def test_corrections_are_changed_removed_taken_back_and_learned_from(
    open_page, axe, digits, tmp_path
):
    corrections = zip(digits[:3], (7, 2, 1), strict=True)
    with service_with(tmp_path, corrections) as (service, labels):
        page = open_page(service, "/#/corrections")
        grid = page.get_by_role("list", name="Corrections")
        grid.get_by_role("img", name="a 7").wait_for()
        assert grid.get_by_role("listitem").count() == 3
        assert page.is_hidden("#robust-learns-them")
        assert serious_of(page, axe) == {}
        grid.get_by_label("Change the digit of this image: 7").select_option("9")
        shows(page, "#corrections-said", "Saved as a 9 now, before as a 7.")
        assert labels() == [1, 2, 9]
        page.get_by_role("button", name="Undo").click()
        grid.get_by_role("img", name="a 7").wait_for()
        assert labels() == [1, 2, 7]
        page.get_by_role("button", name="2 · 1").click()
        assert wait_until(lambda: grid.get_by_role("listitem").count() == 1)
        grid.get_by_role("button", name="Remove this image: 2").click()
        shows(page, "#corrections-said", "Removed: a 2.")
        assert labels() == [1, 7]
        page.get_by_role("button", name="Undo").click()
        assert wait_until(lambda: labels() == [1, 2, 7])
        page.get_by_role("button", name="Train with these 3").click()
        assert page.is_checked("#train-form [name=include_feedback]")
        page.close()


def test_an_image_becomes_no_digit_and_a_digit_again(open_page, axe, digits, tmp_path):
    corrections = zip(digits[:2], (7, 2), strict=True)
    with service_with(tmp_path, corrections) as (service, labels):
        page = open_page(service, "/#/corrections")
        grid = page.get_by_role("list", name="Corrections")
        grid.get_by_label("Change the digit of this image: 2").select_option("Not a digit")
        shows(page, "#corrections-said", "Saved as no digit now, before as a 2.")
        shows(page, "#robust-learns-them", "Only the recipe Robust")
        assert labels() == [7, NO_DIGIT]
        assert serious_of(page, axe) == {}
        page.get_by_role("button", name="Not a digit · 1").click()
        assert wait_until(lambda: grid.get_by_role("listitem").count() == 1)
        grid.get_by_role("img", name="no digit").wait_for()
        grid.get_by_role("button", name="Remove this image: Not a digit").click()
        shows(page, "#corrections-said", "Removed: no digit.")
        assert labels() == [7]
        page.get_by_role("button", name="Undo").click()
        grid.get_by_role("img", name="no digit").wait_for()
        assert labels() == [7, NO_DIGIT]
        grid.get_by_label("Change the digit of this image: Not a digit").select_option("2")
        shows(page, "#corrections-said", "Saved as a 2 now, before as no digit.")
        page.get_by_role("button", name="Undo").click()
        assert wait_until(lambda: labels() == [7, NO_DIGIT])
        page.goto(f"http://127.0.0.1:{service.port}/#/train")
        page.click("#data summary")
        page.get_by_role("button", name="Your own images").click()
        page.get_by_role("button", name="Show: corrections").click()
        shows(page, "#report", "Images without a digit: 1")
        page.close()
