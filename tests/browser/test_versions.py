"""Versions on the page: looked at, compared, made live and back, uploaded; and behind a key."""

import re
from io import BytesIO

import httpx2
import numpy as np

from app.versions.registry import SHIPPED
from tests.browser.conftest import SEVEN, TIMEOUT, draw, reads, run_service, shows, visit
from tests.browser.late_answers.holding import cancelled_job
from tests.service.running import wait_until

ADMIN_KEY = "a-key-of-some-length"
FILE = SHIPPED / "documented.safetensors"


def test_versions_are_looked_at_compared_and_downloaded(open_page, service):
    page = open_page(service, "/#/versions")
    row = page.get_by_role("row", name=re.compile(r"Show version 1\b"))
    row.get_by_text("shipped").wait_for()
    row.get_by_text(re.compile("points worse than live")).wait_for()
    row.get_by_role("link", name="Show version 1").click()
    card = page.get_by_role("region", name="Version 1")
    shows(page, "#confusion-title", "What version 1 confuses")
    card.get_by_role("button", name=re.compile("^4 read as 9: ")).click()
    shows(page, "#behind h3", "4 read as 9")
    page.wait_for_selector(".wall img")
    enlarge = page.get_by_role("button", name="Larger images")
    widths = []
    for pressed in ("false", "true", "false"):
        assert enlarge.get_attribute("aria-pressed") == pressed
        widths.append(page.locator(".wall img").first.bounding_box()["width"])
        enlarge.click()
    assert widths == [64, 192, 64]
    card.get_by_role("combobox").select_option("2")
    shows(page, "#confusion-title", "Version 1 beside 2")
    assert page.get_by_role("row", name=re.compile("^Test loss")).locator("td").count() == 2
    card.get_by_role("button", name=re.compile(r"^0 read as 0: \d+, .\d+$")).wait_for()
    page.reload()
    shows(page, "#confusion-title", "Version 1 beside 2")
    with page.expect_download() as download:
        page.get_by_role("button", name="Weights of version 1 as pt").click()
    assert download.value.suggested_filename == "mynet-1.pt"
    page.go_back()
    shows(page, "#confusion-title", "What version 1 confuses")


def test_version_goes_live_and_back_after_a_question_and_an_upload_is_deleted(open_page, tmp_path):
    with run_service(tmp_path / "var") as service:
        page = open_page(service, "/#/versions", expected=["400"])
        shows(page, "#rows .badge", "Live")
        assert page.is_disabled("#rollback")
        page.click("#rows button:text('Make it live')")
        shows(page, "#confirm-is", "You can undo it.")
        page.click("#confirm button[value=no]")
        assert service.get("/health/ready")["version"] == 2
        page.click("#rows button:text('Make it live')")
        page.click("#confirm-yes")
        shows(page, "#versions-said", "Version 1 is live.")
        assert service.get("/health/ready")["version"] == 1
        shows(page, "#rollback", "Roll back to 2")
        page.get_by_role("button", name="Undo: make version 2 live again").click()
        shows(page, "#versions-said", "Version 2 is live.")
        assert service.get("/health/ready")["version"] == 2
        page.set_input_files("#weights-file", FILE)
        shows(page, "#versions-said", "documented.safetensors is version 3 now.", 120)
        page.get_by_role("button", name="Delete 3").click()
        page.click("#confirm-yes")
        shows(page, "#versions-said", "Version 3 is deleted.")
        bad = tmp_path / "bad.pt"
        bad.write_bytes(b"no weights")
        page.set_input_files("#weights-file", bad)
        shows(page, "#versions-said", "The service refused.", 120)
        assert page.text_content("#versions-said .detail")  # the words of the service
        page.close()  # before the service stops: the page would retry


def start_job_with_own_test_images(client, mnist):
    """Test with 20 images. Half of their labels are wrong: version 2 reads the other half."""
    labels = mnist.test.labels[:20].numpy()
    labels = np.where(np.arange(20) < 10, labels, (labels + 1) % 10)
    content = BytesIO()
    np.savez(content, images=mnist.test.pixels[:20].numpy(), labels=labels.astype(np.uint8))
    files = {"file": ("forms.npz", content.getvalue())}
    client.post("/datasets", data={"name": "forms"}, files=files).raise_for_status()
    job = {"recipe": "quick", "epochs": 1, "test_dataset": "forms"}
    answer = client.post("/train", json=job)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def test_accuracies_of_different_test_images_are_not_compared(open_page, mnist, tmp_path):
    with run_service(tmp_path / "var") as service:
        url = f"http://127.0.0.1:{service.port}"
        with httpx2.Client(base_url=url, timeout=TIMEOUT) as client:
            job = start_job_with_own_test_images(client, mnist)
            result = service.job_until(job, lambda body: body["status"] == "succeeded")["result"]
            assert (result["version"], result["baseline"]["test_accuracy"]) == (3, 0.5)
            page = open_page(service, f"/#/train/{job}")
            shows(page, "#result p", "The live version 2 reads 50.00\u00a0%")
            client.put("/models/current", json={"version": 1}).raise_for_status()
            shows(page, "#result p", "right on forms. The live version 1 was tested on mnist-test.")
            assert page.locator("#accuracy-legend .live").count() == 0
        page.click("#language")
        shows(page, "#result p", "de forms. A versão 1, no ar, foi testada com mnist-test.")
        page.click("#language")
        page.goto(f"{url}/#/versions/3,1")
        row = page.get_by_role("row", name=re.compile("^Show version 3"))
        assert row.locator("small").last.inner_text() == "Tested on: forms"
        shows(page, "#figures .test_dataset", re.compile("Tested on.*forms.*mnist-test"))
        shows(page, "#confusion-title", "What version 3 confuses")  # no difference to version 1
        page.get_by_role("button", name="Make it live 3").click()
        shows(
            page, "#confirm-is", re.compile(r"% of forms right; .* 1 reads [\d.]+.% of mnist-test")
        )
        page.click("#confirm-yes")
        shows(page, "#versions-said", "Version 3 is live.")
        row = page.get_by_role("row", name=re.compile("^Show version 2"))
        assert row.locator("small").last.inner_text() == "Tested on: mnist-test"
        page.goto(f"{url}/#/train/{cancelled_job(service)}")
        shows(page, "#job-title", "Cancelled")
        assert page.locator("#accuracy-legend .live").count() == 0
        page.goto(f"{url}/#/train/{job}")
        shows(page, "#accuracy-legend .live", "live: version 3")
        page.close()  # before the service stops: the page would retry


def test_locked_views_say_so_and_a_wrong_key_is_told_as_wrong(open_page, tmp_path):
    settings = {"auth": "predict", "admin_key": ADMIN_KEY}
    with run_service(tmp_path / "var", **settings) as locked:
        page = open_page(locked, expected=["401"])
        for view, hidden in (
            ("train", "jobs"),
            ("versions", "rows"),
            ("corrections", "no-corrections"),
        ):
            visit(page, view)
            shows(page, f"#{view} .locked", "This part needs a key.")
            assert page.is_hidden(f"#{hidden}")
        page.click("#corrections .locked button")
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        shows(page, "#key-said", "does not know this key")
        assert page.get_attribute("#key", "aria-invalid") == "true"
        page.fill("#key", ADMIN_KEY)
        page.keyboard.press("Enter")
        shows(page, "#no-corrections", "None yet.")
        for view in ("train", "versions"):
            visit(page, view)
            assert wait_until(lambda view=view: page.is_hidden(f"#{view} .locked"))
        shows(page, "#rows .badge", "Live")
        page.close()  # before the service stops: the page would retry


def test_a_key_is_asked_for_where_the_service_wants_one(open_page, tmp_path):
    settings = {"auth": "keys", "admin_key": ADMIN_KEY}
    with run_service(tmp_path / "var", **settings) as locked:
        page = open_page(locked, expected=["401"])
        page.wait_for_selector("#give-key:visible")
        assert not page.is_visible("#key-dialog"), "no request has needed a key yet"
        draw(page, SEVEN)
        page.fill("#key", settings["admin_key"])
        page.keyboard.press("Enter")
        reads(page, 7)
        visit(page, "versions")
        page.wait_for_selector("#rows .pick")
        stored = (
            "() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"
        )
        assert settings["admin_key"] not in page.evaluate(stored)
        page.close()  # before the service stops: the page would retry
