"""A service that is told to end says so first, and lets nobody down."""

import json
import os
import re
import signal
import socket
import threading
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from filelock import FileLock

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


@contextmanager
def slowly(service, path, told):
    """Send the head of a request, and then its body slower than the service ends."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {told}\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", service.port), 60)) as connection:
        connection.sendall(head.encode() + b"x")
        answer, ended = [], threading.Event()

        def drip():
            with suppress(OSError):  # it has been answered
                while not ended.wait(0.5):
                    connection.sendall(b"x")

        def listen():
            answer.append(connection.recv(65536))
            ended.set()

        threads = [threading.Thread(target=each) for each in (drip, listen)]
        for each in threads:
            each.start()
        yield answer
        for each in threads:
            each.join()


def test_who_would_get_no_answer_any_more_is_told_to_come_again(service, tmp_path):
    """A long upload, short ones on either way, and a file that waits for its turn."""
    uploads = [("/predict", 10**6), ("/predict", 1000), ("/predict?explain=1", 1000)]
    with ExitStack() as stack:
        stack.enter_context(FileLock(tmp_path / "var/uploads/.lock"))
        told = [stack.enter_context(slowly(service, *each)) for each in uploads]
        waiting = stack.enter_context(closing(HTTPConnection("127.0.0.1", service.port)))
        waiting.request("POST", "/models", b"weights")
        assert service.get("/health/ready")
        service.end()
        answer = waiting.getresponse()
        assert (answer.status, json.load(answer)["code"]) == (503, "not_ready")
        assert answer.headers["retry-after"]
    for (came,) in told:
        assert came.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in came.lower()
    log = service.log.read_text()
    assert len(re.findall(r"app\.access: POST .* 503 ", log)) == 4
    assert not re.findall(r"app\.access: .* 500 ", log)
