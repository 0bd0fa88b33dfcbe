"""Own images on the page: dropped as a folder, looked at, trained with, and deleted."""

import json
import re

from tests.browser.conftest import serious_of, shows
from tests.conftest import png
from tests.service.running import wait_until


def test_a_folder_becomes_a_data_set_that_a_job_is_trained_with(
    open_page, service, axe, mnist, tmp_path
):
    labels = [int(label) for label in mnist.test.labels[:12]]
    labels[0] = (labels[0] + 1) % 10  # it is suspect then
    images = mnist.test.pixels[:12].numpy()
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        path = tmp_path / "my digits" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(255 - pixels))
    (tmp_path / "my digits" / "notes.png").write_text("no image")

    page = open_page(service, "/#/train")
    page.click("#data summary")
    page.get_by_role("button", name="Your own images").click()
    dialog = page.get_by_role("dialog", name="Data sets")
    with page.expect_file_chooser() as chooser:
        dialog.get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(tmp_path / "my digits")
    assert dialog.get_by_label("Name").input_value() == "my-digits"
    shows(page, "#files-said", "13 files")
    dialog.get_by_role("button", name="Upload").click()
    dialog.get_by_role("heading", name="my-digits: 12 images").wait_for(timeout=120_000)
    shows(page, "#report", "Rejected: 1")
    dialog.get_by_role("img", name=re.compile(f"a {labels[0]}\\? Read as")).wait_for()
    assert serious_of(page, axe) == {}
    dialog.get_by_role("button", name="Train with my-digits").click()
    shows(page, "#data-summary", "mnist + my-digits")
    page.fill("#train-form [name=epochs]", "300")  # it still trains when it is cancelled
    with page.expect_request("**/train") as request:
        page.click("#train-form button[type=submit]")
    assert json.loads(request.value.post_data)["datasets"] == ["mnist", "my-digits"]
    page.click("#cancel")
    shows(page, "#job-title", "Cancelled")
    page.get_by_role("button", name="Your own images").click()
    dialog.get_by_role("button", name="Delete: my-digits").click()
    page.click("#confirm-yes")
    names = lambda: [each["name"] for each in service.get("/datasets")["data"]]  # noqa: E731
    assert wait_until(lambda: "my-digits" not in names())
    shows(page, "#data-summary", re.compile("mnist$"))


def test_a_refusal_is_shown_with_the_words_of_the_service(open_page, service, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("no numbers")
    page = open_page(service, "/#/train", expected=["400", "422"])
    page.click("#data summary")
    page.click("#own-data")
    page.set_input_files("#zip-file", file)
    page.click("#data-form button")
    page.locator("#data-said .detail").wait_for(timeout=120_000)
