"""Training, watched: the list of jobs, curves, weights by epoch, sweeps, pause, refusals."""

import os
import re
import signal

import pytest

from tests.browser.conftest import LONG, SEVEN, draw, reads, run_service, shows, visit, walk
from tests.browser.late_answers.holding import cancelled_job
from tests.service.running import wait_until


def dots(page):
    return page.locator("#accuracy-chart circle").count()


def start(page, **fields):
    """Fill the form of the view Train in, and start."""
    if {"promote", "note", "seed"} & fields.keys():
        page.locator("#advanced").evaluate("(details) => (details.open = true)")
    for name, value in fields.items():
        fill = page.select_option if name == "promote" else page.fill
        fill(f"#train-form [name={name}]", value)
    page.click("#train-form button[type=submit]")


def job_of(page):
    """Return the id of the job in the address."""
    page.wait_for_url(re.compile("#/train/[0-9a-f]{16}"))
    return page.url.rsplit("/", 1)[1]


def row_of(job):
    """Return the selector of a job's row in the list of jobs."""
    return f"#jobs li:has([data-key=link-{job}])"


def test_a_training_is_watched_reloaded_and_goes_live(open_page, service):
    page = open_page(service, "/#/train")
    start(page, epochs="3", promote="always", seed="7", note="watched")
    job = job_of(page)
    shows(page, "#accuracy-legend .c0 b", "%", LONG)
    page.reload()
    other = open_page(service, "/#/train")
    for tab in (page, other):
        shows(tab, "#job-title", "Trained", LONG)
        shows(tab, "#result", "is live")
        assert wait_until(lambda tab=tab: dots(tab) == 3)
    assert job_of(page) == job
    shows(page, "#result", "rule is to make it live always")
    assert page.locator("#result .detail").count() == 0, "the service says the same"
    accuracy = service.get(f"/train/{job}")["result"]["test_accuracy"]
    for part in ("Quick: watched", "Trained · 3 epochs", f"{accuracy:.2%}".replace("%", "\u00a0%")):
        shows(page, row_of(job), part)
    assert page.is_hidden("#pill")
    assert page.title() == "MyNet"
    assert len(page.locator("#loss-chart polyline.train").get_attribute("points").split()) >= 9
    page.click("#log-fold summary")
    shows(page, "#log", "==>>> epoch: 2, batch index: 300, train loss: ")
    live = service.get("/health/ready")["version"]
    visit(page, "versions")
    shows(page, "#rows tr:first-child .badge", "Live")
    shows(page, "#rows tr:first-child .pick", str(live))
    shows(page, "#rows tr:first-child", "watched")
    shows(page, "#s-version", str(live))
    page.click("#rollback")
    page.click("#confirm-yes")
    shows(page, "#versions-said", "is live")
    assert service.get("/health/ready")["version"] != live


def test_the_weights_of_each_epoch_are_shown_and_read_the_drawing(open_page, service):
    page = open_page(service)
    draw(page, SEVEN)
    reads(page, 7)
    walk(page, "Train", LONG)
    trained = page.get_by_role("region", name="Trained")
    slider = trained.get_by_role("slider", name="Epoch")
    shows(page, "#reads-words", "It reads your drawing as 7")
    last = painted(page)
    slider.press("ArrowLeft")
    trained.get_by_role("img", name="first layer, after epoch 1").wait_for()
    assert wait_until(lambda: painted(page) != last)
    assert slider.get_attribute("aria-valuetext").startswith("after epoch 1: ")
    shows(page, "#at-epoch", "Epoch 1")


def painted(page):
    return page.locator("#tiles").evaluate("(canvas) => canvas.toDataURL()")


def test_a_training_is_watched_from_the_click_on(open_page, service):
    """The page says what it does before the service has answered, and ends when it is cancelled."""
    held = []
    page = open_page(service, "/#/train")
    page.route("**/train", lambda route: held.append(route))
    start(page, epochs="300", promote="never")
    shows(page, "#eta", "asking the service")
    shows(page, "#job-title", "Sent")
    assert page.get_attribute("#progress", "value") is None  # there is no fraction yet
    assert wait_until(lambda: page.evaluate("() => 1") and held)
    assert [route.request.method for route in held] == ["POST"]
    assert page.url.endswith("#/train"), "no answer has come"
    held[0].continue_()
    job_of(page)
    shows(page, "#job-title", re.compile("Waiting|Training"), LONG)
    page.click("#cancel")
    shows(page, "#job-title", "Cancelled")


NOW = """() => {
  const of = (id) => document.getElementById(id);
  return {
    status: of("job").dataset.status,
    at: of("at").textContent,
    tiles: of("tiles").toDataURL(),
    isRead: of("opinion").checkVisibility() && of("reads-words").textContent,
  };
}"""


def test_weights_and_the_reading_of_the_drawing_change_while_a_job_trains(open_page, service):
    page = open_page(service)
    draw(page, SEVEN)
    reads(page, 7)
    visit(page, "train")
    # It learns slowly, so that what it reads still changes after many epochs.
    start(page, epochs="300", learning_rate="0.001", promote="never")
    job_of(page)
    shows(page, "#at", re.compile(r"after epoch \d+: "), LONG)
    shows(page, "#reads-words", "It reads your drawing as")
    first = page.evaluate(NOW)

    def has_changed():
        now = page.evaluate(NOW)
        assert (now["status"], bool(now["isRead"])) == ("running", True)
        return all(now[name] != first[name] for name in ("at", "tiles", "isRead"))

    assert wait_until(has_changed)
    page.click("#cancel")
    shows(page, "#job-title", "Cancelled")


def test_curves_of_several_jobs_lie_over_one_another(open_page, service):
    page = open_page(service, "/#/train", expected=["404"])
    start(page, epochs="2", note="first", promote="never")
    first = job_of(page)
    page.goto(page.url.split("#")[0] + "#/train")
    start(page, epochs="2", note="second", promote="never")
    page.wait_for_url(lambda url: "#/train/" in url and first not in url)
    second = job_of(page)
    service.job_until(second, lambda job: job["status"] == "succeeded")
    shows(page, "#job-title", "Trained")
    page.check(f"[data-key=tick-{first}]")
    assert wait_until(lambda: page.locator("#accuracy-chart polyline:not(.live)").count() == 2)
    assert page.locator("#accuracy-legend li").count() == 3  # and the live version
    assert page.locator("#accuracy-chart .line.live").count() == 1
    for epoch in (1, 2):
        point_at(page, epoch, of=2)
        for i, job in enumerate((second, first)):
            loss = service.get(f"/train/{job}")["epochs"][epoch - 1]["test_loss"]
            shows(page, f"#loss-legend .c{i} b", f"{loss:.3f}")
    page.reload()
    shows(page, "#accuracy-legend", "Quick: second")
    assert page.is_checked(f"[data-key=tick-{first}]")
    page.go_back()
    assert job_of(page) == second
    assert wait_until(lambda: page.locator("#accuracy-chart polyline:not(.live)").count() == 1)
    page.click(f"[data-key=delete_job-{second}]")
    page.click("#confirm-yes")
    assert wait_until(lambda: page.locator(f"[data-key=tick-{second}]").count() == 0)
    page.goto(page.url.split("#")[0] + f"#/train/{second}")
    shows(page, "#eta", "This no longer exists")


def test_older_jobs_follow_the_page_and_not_an_old_job_that_was_opened(open_page, service):
    oldest, _, newest = (cancelled_job(service) for _ in range(3))
    first_page = {"data": [service.get(f"/train/{newest}")], "has_more": True}
    page = open_page(service)
    page.route("**/train?limit=50", lambda route: route.fulfill(json=first_page))
    page.goto(f"{page.url.split('#')[0]}#/train/{oldest}")
    page.wait_for_selector(f"{row_of(oldest)} [aria-current]")
    with page.expect_request(f"**/train?limit=50&after={newest}"):
        page.click("#older")


def test_the_list_does_not_scroll_back_to_what_has_the_focus(open_page, service):
    job = cancelled_job(service)
    page = open_page(service, f"/#/train/{job}", expected=["404"])
    page.wait_for_selector(f"{row_of(job)}[data-status=cancelled]")
    page.set_viewport_size({"width": 1280, "height": 400})
    link = page.locator(f"[data-key=link-{job}]")
    link.focus()
    page.evaluate("() => scrollTo(0, 0)")
    assert link.bounding_box()["y"] > 400, "the row is below what is seen"
    row = page.locator(row_of(job)).element_handle()
    other = service.post("/train", b'{"recipe": "quick", "epochs": 1, "promote": "never"}')["id"]
    assert wait_until(lambda: page.locator(row_of(other)).count())
    assert not row.evaluate("(row) => row.isConnected"), "it was drawn again, one place below"
    assert page.evaluate("() => document.activeElement.dataset.key") == f"link-{job}"
    assert page.evaluate("() => scrollY") == 0
    row = page.locator(row_of(job)).element_handle()
    service.post(f"/train/{other}/cancel")
    page.wait_for_selector(f"{row_of(other)}[data-status=cancelled]")
    assert row.evaluate("(row) => row.isConnected"), "only what changes is drawn again"


def point_at(page, epoch, of):
    """Point at the middle of the chart of losses or at its end, where an epoch is."""
    box = page.locator("#loss-chart svg").bounding_box()
    position = {"x": box["width"] * (0.1 + 0.85 * epoch / of), "y": 60}
    page.hover("#loss-chart svg", position=position)
    shows(page, "#at-epoch", f"Epoch {epoch}")


def test_first_training_is_no_failure_and_is_offered_to_go_live(open_page, tmp_path):
    with run_service(tmp_path / "var") as service:
        page = open_page(service, "/#/train")
        start(page, epochs="1")
        shows(page, "#result", "so it stays", LONG)
        assert page.get_attribute("#result", "class") == "", "not bad"
        page.click("#result .reason summary")
        shows(page, "#result .reason[open]", "This is no failure: recipe quick is for learning")
        assert page.locator("#result .detail").count() == 0, "the service says the same"
        page.click("#language")
        shows(page, "#result", "Isto não é uma falha: a receita Rápida serve para aprender")
        assert page.locator("#result [lang=en]").count() == 0
        page.click("#language")
        page.click("#result button.main")
        page.click("#confirm-yes")
        shows(page, "#result", "is live")
        assert wait_until(lambda: page.locator("#result button.main").count() == 0)
        assert service.get("/health/ready")["version"] == 3
        page.close()  # before the service stops: the page would retry


def test_a_failure_is_said_in_the_readers_language_and_in_the_services_words(open_page, service):
    page = open_page(service, "/#/train", locale="pt-BR")
    page.click("#advanced summary")
    start(page, epochs="1", learning_rate="1e30")
    shows(page, "#result", "O treino divergiu.", LONG)
    assert page.locator("#result .detail").get_attribute("lang") == "en"
    page.click("#delete-job")
    page.click("#confirm-yes")
    page.wait_for_url(re.compile("#/train$"))


def test_a_job_is_paused_resumed_and_cancelled(open_page, service):
    page = open_page(service, "/#/train")
    start(page, epochs="300")
    job = job_of(page)
    shows(page, "#eta", "left", LONG)
    visit(page, "draw")
    shows(page, "#pill", "%")  # how far it is, on every view
    assert wait_until(lambda: page.title().endswith("\u00a0% · MyNet"))
    page.go_back()
    for title in ("Paused", re.compile("Waiting|Training")):
        page.click("#pause")
        shows(page, "#job-title", title)
    for action, title in (("pause", "Paused"), ("resume", re.compile("Waiting|Training"))):
        page.click(f"[data-key={action}-{job}]", timeout=1000 * LONG)  # once it trains again
        shows(page, row_of(job), title)
        shows(page, "#job-title", title)
    start(page, epochs="1")
    shows(page, "#eta", "waiting for 1 before it")
    page.click("#cancel")
    shows(page, "#job-title", "Cancelled")
    page.go_back()
    page.click(f"[data-key=cancel-{job}]")
    page.click(f"[data-key=delete_job-{job}]")
    page.click("#confirm-yes")
    assert wait_until(lambda: job not in [row["id"] for row in service.get("/train")["data"]])


def test_a_sweep_is_a_table_and_its_best_goes_live(open_page, service):
    page = open_page(service, "/#/train")
    sweep = page.evaluate(
        """async () => (await (await fetch("sweeps", { method: "POST", body: JSON.stringify(
          { name: "momentum", epochs: 1, momentum: [0, 0.9], promote: "never" }) })).json()).id"""
    )
    page.get_by_role("link", name=re.compile("^Sweep: momentum")).click()
    assert page.url.endswith(f"#/train/sweep-{sweep}")
    best = page.locator("#grid tr.best")
    assert wait_until(lambda: page.locator("#grid tbody button").count() == 2)
    assert best.locator("td").first.text_content() == "0.9"
    best.get_by_role("button", name=re.compile("^Make it live")).click()
    page.click("#confirm-yes")
    shows(page, "#grid tr.best", "Live")
    page.evaluate("() => fetch('models/rollback', { method: 'POST' })")  # for the tests after it
    page.click("#delete-sweep")
    page.click("#confirm-yes")
    assert wait_until(lambda: service.get("/sweeps")["data"] == [])


def test_the_phase_of_a_job_is_shown(open_page, tmp_path):
    """The process of a first job imports PyTorch, for seconds. It halts there, to be looked at."""
    with run_service(tmp_path / "var") as service:
        page = open_page(service, "/#/train")
        page.click("#train-form label:has(input[value=robust])")
        page.click("#advanced summary")
        page.fill("input[name=batch_size]", "60000")  # its first batch draws for minutes
        page.click("#train-form button[type=submit]")
        assert wait_until(lambda: service.trainings)
        [process] = service.trainings
        os.kill(process, signal.SIGSTOP)
        try:
            shows(page, "#eta", "starting PyTorch")
            assert page.get_attribute("#progress", "value") is None  # there is no fraction yet
        finally:
            os.kill(process, signal.SIGCONT)
        shows(page, "#eta", re.compile(r"drawing [\d,]+ of 56,000 pictures"), LONG)
        page.click("#cancel")
        shows(page, "#job-title", "Cancelled")
        shows(page, "#eta", re.compile("^Robust$"))
        page.close()  # before the service stops: the page would retry


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", "0", "1 or more"),
        ("epochs", "1.5", "whole"),
        ("batch_size", "60001", "60,000 or less"),
        ("learning_rate", "0", "more than 0"),
        ("momentum", "1", "less than 1"),
        ("device", "tpu", "cuda"),
        ("validation_fraction", "0.5", "less than 0.5"),
        ("max_seconds", "0", "more than 0"),
    ],
)
def test_wrong_wishes_are_refused_beside_the_field(open_page, service, name, value, message):
    page = open_page(service, "/#/train")
    page.click("#advanced summary")
    page.fill(f"input[name={name}]", value)
    page.click("#train-form button[type=submit]")
    shows(page, f"#bad-{name}", message)
    assert page.get_attribute(f"input[name={name}]", "aria-invalid") == "true"
