"""A service that is told to end says so first, and lets nobody down."""

import json
import os
import signal
import threading
from contextlib import closing
from http.client import HTTPConnection
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.service.running import comes_true, serving


@pytest.fixture(params=["1", "2"], ids=["alone", "two workers"])
def service(request, tmp_path):
    with serving(tmp_path / "var", workers=request.param) as service:
        yield service


def refusal(service):
    """Say why the service is not ready, once it is not."""
    try:
        service.get("/health/ready")
    except HTTPError as error:
        return json.load(error)["detail"]
    return ""


def test_it_is_not_ready_at_once_and_still_answers(service, seven):
    service.process.send_signal(signal.SIGTERM)
    assert comes_true(lambda: "draining" in refusal(service))
    assert service.post("/predict", seven)["digit"] == 7
    assert service.process.wait(30) in (0, -signal.SIGTERM)


def test_a_second_signal_ends_it_without_notice(tmp_path, seven):
    with (
        serving(tmp_path / "var") as service,
        closing(HTTPConnection("127.0.0.1", service.port)) as kept,
    ):
        kept.request("POST", "/predict", seven)
        assert json.load(kept.getresponse())["digit"] == 7
        service.process.send_signal(signal.SIGTERM)
        assert comes_true(lambda: "draining" in refusal(service))
        assert service.end() == -signal.SIGTERM


def test_who_follows_a_job_is_told_to_come_again(service):
    job = service.post("/train", b'{"epochs": 1000, "promote": "never"}')["id"]
    stream = Request(
        f"http://127.0.0.1:{service.port}/train/{job}/events",
        headers={"Accept": "text/event-stream"},
    )
    lines = []

    def follow():
        with urlopen(stream, timeout=30) as events:
            lines.extend(events)

    follower = threading.Thread(target=follow)
    follower.start()
    service.job_until(job, lambda body: body["progress"])
    service.end()
    follower.join(10)
    assert not follower.is_alive()
    assert b"retry: 2000\n" in lines[-4:]
    assert lines[0].startswith(b"event: status")


def test_a_worker_that_cannot_start_keeps_nobody_waiting(tmp_path):
    models, aside = tmp_path / "var/models", tmp_path / "aside"
    with serving(tmp_path / "var", workers=2) as service:
        models.rename(aside)
        models.write_text("no folder")
        os.kill(service.workers[0], signal.SIGKILL)
        assert comes_true(lambda: "cannot start yet" in service.log.read_text())
        service.end()
