"""Own images on the page: dropped as a folder, looked at, trained with, and deleted."""

import json
import re
from io import BytesIO
from shutil import make_archive

import httpx2
import numpy as np
import pytest

from tests.browser.conftest import TIMEOUT, serious_of, shows
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


def test_a_suspect_image_behind_a_thousand_others_has_its_picture(open_page, service, mnist):
    train, test = mnist.train, mnist.test
    ones = train.pixels[train.labels == 1][:1001].numpy()
    content = BytesIO()
    images = np.concatenate([ones, test.pixels[:1].numpy()])  # the last one shows a 7
    np.savez(content, images=images, labels=np.full(len(images), 1, np.uint8))
    url = f"http://127.0.0.1:{service.port}/datasets"
    with httpx2.Client(timeout=TIMEOUT) as client:
        files = {"file": ("ones.npz", content.getvalue())}
        uploaded = client.post(url, data={"name": "ones"}, files=files)
        assert uploaded.json()["suspect"][0]["id"] == "1001"
        page = open_page(service, "/#/train")
        page.click("#data summary")
        page.click("#own-data")
        page.get_by_role("button", name="Show: ones").click()
        seven = page.get_by_role("img", name=re.compile(r"a 1\? Read as 7"))
        seven.first.wait_for()
        seven.first.evaluate("(image) => image.decode()")  # fails if there is no picture
        page.close()
        client.delete(f"{url}/{uploaded.json()['id']}").raise_for_status()


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_drop_becomes_a_data_set_with_its_counts_by_label(
    open_page, service, mnist, tmp_path, kind
):
    folder = tmp_path / f"dropped-{kind}"
    counts = {0: 2, 1: 3}
    for label, count in counts.items():
        (folder / str(label)).mkdir(parents=True)
        images = mnist.test.pixels[mnist.test.labels == label][:count].numpy()
        for number, pixels in enumerate(images):
            (folder / str(label) / f"{number}.png").write_bytes(png(255 - pixels))
    dropped = folder if kind == "folder" else make_archive(folder, "zip", folder)

    page = open_page(service, "/#/train")
    page.click("#data summary")
    page.click("#own-data")
    drop(page, "#drop", dropped)
    shows(page, "#files-said", "5 files" if kind == "folder" else "1 file")
    assert page.input_value("#data-name") == folder.name
    page.click("#data-form button")
    shows(page, "#report h3", f"{folder.name}: 5 images")
    by_label = page.locator("#report .counts li span").all_text_contents()
    assert by_label == [str(counts.get(digit, 0)) for digit in range(10)]
    page.get_by_role("button", name=f"Delete: {folder.name}").click()
    page.click("#confirm-yes")
    assert wait_until(
        lambda: folder.name not in [each["name"] for each in service.get("/datasets")["data"]]
    )


def drop(page, selector, path):
    """Drop a file or a folder of the disk, as a file manager does: scripts cannot make folders."""
    box = page.locator(selector).bounding_box()
    middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 20}
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    mouse = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        mouse.send("Input.dispatchDragEvent", {"type": kind, **middle, "data": data})


def test_a_refusal_is_shown_with_the_words_of_the_service(open_page, service, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("no numbers")
    page = open_page(service, "/#/train", expected=["400", "422"])
    page.click("#data summary")
    page.click("#own-data")
    page.set_input_files("#zip-file", file)
    page.click("#data-form button")
    page.locator("#data-said .detail").wait_for(timeout=120_000)
