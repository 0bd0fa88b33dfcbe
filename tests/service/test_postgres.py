"""Whole services on one PostgreSQL, each with a state folder of its own."""

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle, takewhile

import pytest

from tests.postgres import FAST_SETTINGS, PASSWORD, run_postgres
from tests.rigs.load import uploads
from tests.rigs.load.closed_loop import paced, press_all
from tests.service.running import are_gone, run_service, wait_until
from tests.service.test_jobs import SMALL_BATCH, epochs_of_batches, follow, has_succeeded
from tests.service.test_keys import keys, status

EPOCHS = 12
REQUEST_BODY = json.dumps({**SMALL_BATCH, "epochs": EPOCHS, "promote": "never"}).encode()


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL that may be stopped."""
    with run_postgres(*FAST_SETTINGS) as server:
        yield server


def batches(events):
    return [(data["epoch"], data["batch"]) for _, kind, data in events if kind == "batch"]


def test_two_services_share_jobs_and_one_takes_over(server, tmp_path, small_data_dir):
    url = server.fresh()
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(
                run_service(tmp_path / name, database_url=url, data_dir=small_data_dir)
            )
            for name in ("one", "other")
        )
        job = other.post("/train", REQUEST_BODY)["id"]
        one.job_until(job, lambda body: body["epochs"])
        assert [bool(candidate.trainings) for candidate in (one, other)].count(True) == 1
        first, second = (one, other) if one.trainings else (other, one)
        first_events = follow(second, job, stop=lambda events: events[-1][1] == "batch")
        first.end(signal.SIGKILL)
        assert are_gone(first.trainings)
        later_events = follow(second, job, first_events[-1][0])
        assert has_succeeded(later_events)
        done = second.get(f"/train/{job}")
        assert (done["attempt"], len(done["epochs"])) == (2, EPOCHS)
        all_batches = batches([*first_events, *later_events])
        assert all_batches == epochs_of_batches(EPOCHS)
        log = second.text(f"/train/{job}/log")
        assert log.count("==>>> epoch:") == len(all_batches)
        assert len(second.trainings) == 1
        for service in (one, other):
            assert PASSWORD not in service.log.read_text()
        second.end()


def test_a_crash_of_the_database_fails_no_prediction_and_no_training(
    server, tmp_path, small_data_dir
):
    stop, shared = threading.Event(), {"database_url": server.fresh(), "data_dir": small_data_dir}
    requests = takewhile(lambda _: not stop.is_set(), paced(cycle(uploads.requests()), 100))
    with run_service(tmp_path / "var", **shared) as service, ExitStack() as stack:
        job = service.post("/train", REQUEST_BODY)["id"]
        epochs_before = service.job_until(job, lambda body: body["epochs"])["epochs"]
        load = stack.enter_context(ThreadPoolExecutor(1)).submit(
            press_all, service.port, requests, 4
        )
        try:
            server.stop()
            assert are_gone(service.trainings), "it could not record a batch"
            server.start()
            service.job_until(job, lambda body: len(body["epochs"]) > len(epochs_before) + 1)
        finally:
            stop.set()
        pressed = load.result()
        done = service.job_until(job, lambda body: body["status"] == "succeeded")
        assert (pressed.wrong, dict(pressed.refused)) == (0, {})
        assert pressed.latencies
        assert done["attempt"] > 1
        assert [epoch["epoch"] for epoch in done["epochs"]] == [*range(EPOCHS)]
        assert batches(follow(service, job)) == epochs_of_batches(EPOCHS)
        service.end()


def test_a_database_that_hangs_holds_back_no_prediction_and_opens_nothing(server, tmp_path, seven):
    state, url = tmp_path / "var", server.fresh()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYNET_DATABASE_URL", url)
        key = keys(state, "create", "ci", "--scope", "predict", "--scope", "train")
    with run_service(state, database_url=url, auth="keys") as service, ExitStack() as stack:
        stack.enter_context(server.hanging())
        waiting = [
            threading.Thread(target=status, args=(service, "/train", key), daemon=True)
            for _ in range(60)
        ]
        for thread in waiting:
            thread.start()
        answers = [status(service, "/predict", key, seven) for _ in range(50)]
        assert answers == [200] * 50
        assert status(service, "/predict", None, seven) == 401
        assert status(service, "/predict", key[:-1] + "x", seven) == 401
        assert status(service, "/train", key) == 503
        for thread in waiting:
            thread.join()
        stack.close()
        assert wait_until(lambda: status(service, "/train", key) == 200)
        service.end()
