"""Jobs on the page: a late answer does not overwrite what the reader has changed since."""

import re

from tests.browser.conftest import shows, visit
from tests.browser.late_answers.holding import Held, cancelled_job
from tests.browser.test_train import job_of, row_of, start
from tests.service.running import wait_until

SWEEP = b'{"name": "%s", "recipe": "quick", "epochs": 1, "seed": [1, 2], "promote": "never"}'
# Keeps which titles of a job come from now on.
WATCH_TITLE = """() => {
  window.titles = [];
  const title = document.getElementById("job-title");
  new MutationObserver(() => {
    if (title.textContent !== "Paused") titles.push(title.textContent);
  }).observe(title, { childList: true });
}"""


def test_removed_job_is_not_brought_back_by_an_older_answer(open_page, service):
    held = []
    job = service.post("/train", b'{"epochs": 300, "promote": "never"}')["id"]
    service.post(f"/train/{job}/cancel")
    service.job_until(job, lambda body: body["status"] == "cancelled")
    page = open_page(service, f"/#/train/{job}")
    shows(page, "#job-title", "Cancelled")
    page.route("**/train?limit=10", lambda route: held.append((route, route.fetch())))
    while not held:
        page.wait_for_timeout(50)
    page.click("#delete-job")
    page.click("#confirm-yes")
    page.wait_for_url(re.compile("#/train$"))
    for route, response in held:
        with page.expect_response("**/train?limit=10"):
            route.fulfill(response=response)
    page.wait_for_timeout(100)
    assert page.locator(f"[data-key=delete_job-{job}]").count() == 0


def test_nothing_is_asked_about_a_job_that_is_being_removed(open_page, service):
    refusal = {"status": 503, "json": {"code": "not_ready", "detail": "Not now."}}
    body = b'{"recipe": "quick", "epochs": 1, "promote": "never", "keep_checkpoints": true}'
    job = service.post("/train", body)["id"]
    service.job_until(job, lambda body: body["status"] == "succeeded")
    page = open_page(service, expected=["503"])
    held, ended = [], []
    page.on("requestfailed", lambda request: ended.append(request.url.rsplit("/", 1)[1]))
    page.route(f"**/train/{job}/checkpoints", lambda route: held.append(route))
    page.goto(f"{page.url.split('#')[0]}#/train/{job}")
    assert wait_until(lambda: page.evaluate("() => 1") and held)
    page.route(f"**/train/{job}", lambda route: route.fulfill(**refusal))
    page.click("#delete-job")
    page.click("#confirm-yes")
    shows(page, "#job-said .detail", "Not now.")
    assert "checkpoints" in ended
    assert job_of(page) == job, "it is shown again"
    page.unroute(f"**/train/{job}")
    page.click("#delete-job")
    page.click("#confirm-yes")
    page.wait_for_url(re.compile("#/train$"))
    assert page.locator(row_of(job)).count() == 0


def test_the_answer_to_a_removal_does_not_lead_away_from_what_is_opened_meanwhile(
    open_page, service
):
    def hold(route):
        return held.append(route) if route.request.method == "DELETE" else route.continue_()

    held = []
    job = cancelled_job(service)
    page = open_page(service, f"/#/train/{job}", expected=["404"])
    page.route(f"**/train/{job}", hold)
    page.click("#delete-job")
    page.click("#confirm-yes")
    page.wait_for_url(re.compile("#/train$"))
    page.goto(f"{page.url}/{job}")
    assert wait_until(lambda: page.evaluate("() => 1") and held)
    (removal,) = held
    removal.continue_()
    shows(page, "#eta", "This no longer exists")
    assert job_of(page) == job


def test_an_older_look_does_not_undo_a_pause(open_page, service):
    page = open_page(service, "/#/train")
    start(page, epochs="300", promote="never")
    job = job_of(page)
    service.job_until(job, lambda body: body["status"] == "running")
    shows(page, row_of(job), "Training")
    with Held(page, "**/sweeps?limit=20") as held:
        held.wait()
        page.click("#pause")
        shows(page, "#job-title", "Paused")
        page.evaluate(WATCH_TITLE)
        with page.expect_response("**/train?limit=10"):
            held.release()
        shows(page, row_of(job), "Paused")
    assert page.evaluate("() => titles") == []
    page.click("#cancel")
    shows(page, "#job-title", "Cancelled")


def test_a_started_job_does_not_lead_away_from_the_drawing(open_page, service):
    def ids():
        return {job["id"] for job in service.get("/train")["data"]}

    page, before = open_page(service, "/#/train"), ids()
    with Held(page, "**/train", method="POST") as held:
        start(page, epochs="1", promote="never")
        held.wait()
        page.dispatch_event("#train-form button[type=submit]", "click")  # pressed twice
        visit(page, "draw")
        held.release()
    (job,) = ids() - before
    page.wait_for_selector(row_of(job), state="attached")
    assert page.url.endswith("#/draw")
    service.job_until(job, lambda body: body["finished_at"])
    assert ids() - before == {job}


def test_a_question_in_a_dialog_ends_if_another_sweep_is_opened(open_page, service):
    page = open_page(service, "/#/train")
    home = page.url.split("#")[0]
    sweeps = [service.post("/sweeps", SWEEP % name)["id"] for name in (b"first", b"second")]
    for sweep, name in zip(sweeps, ("first", "second"), strict=True):
        service.post(f"/sweeps/{sweep}/cancel")
        page.goto(f"{home}#/train/sweep-{sweep}")
        shows(page, "#sweep-title", name)
    page.click("#delete-sweep")
    page.wait_for_selector("#confirm[open]")
    page.go_back()
    shows(page, "#sweep-title", "first")
    page.wait_for_selector("#confirm", state="hidden")
    assert {*sweeps} <= {sweep["id"] for sweep in service.get("/sweeps")["data"]}


def test_a_chosen_job_is_not_replaced_by_one_whose_answer_comes_later(open_page, service):
    first, second = cancelled_job(service), cancelled_job(service)
    page = open_page(service, "/#/draw")
    shows(page, "#s-state", "ready")
    home = page.url.split("#")[0]
    with Held(page, "**/train?limit=50") as held:
        page.goto(f"{home}#/train/{first}")
        held.wait()
        page.goto(f"{home}#/train/{second}")
        held.wait(2)
        held.release_one(1)
        page.wait_for_selector(f"{row_of(second)} [aria-current]")
        held.release_one(0)
    page.wait_for_timeout(200)
    assert page.locator(f"{row_of(first)} [aria-current]").count() == 0
    page.wait_for_selector(f"{row_of(second)} [aria-current]")
