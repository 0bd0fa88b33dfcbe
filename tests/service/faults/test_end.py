"""Graceful shutdown: the service reports not-ready first, and finishes requests in progress."""

import json
import os
import re
import signal
import socket
import threading
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import pytest
from filelock import FileLock

from app.database.database import Database
from app.database.jobs import JobStore
from app.database.tables import Job
from tests.rigs.load.uploads import raw_request
from tests.service.running import run_service, wait_until

READINESS = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_second_signal_ends_it_without_notice(tmp_path, seven):
    with (
        run_service(tmp_path / "var") as service,
        closing(HTTPConnection("127.0.0.1", service.port)) as connection,
    ):
        connection.request("POST", "/predict", seven)
        assert json.load(connection.getresponse())["digit"] == 7
        # It finds the signal and a new connection when it goes on, however slow this test is.
        service.process.send_signal(signal.SIGSTOP)
        with closing(socket.create_connection(("127.0.0.1", service.port), 120)) as late:
            late.sendall(READINESS + raw_request(seven))
            service.process.send_signal(signal.SIGTERM)
            service.process.send_signal(signal.SIGCONT)
            received = b""
            while b'"digit"' not in received and (part := late.recv(65536)):
                received += part
        assert_not_ready_and_answers(received)
        assert service.end() == -signal.SIGTERM


def assert_not_ready_and_answers(received):
    """Check the answers to READINESS, and to a seven right behind it."""
    assert re.search(
        rb"HTTP/1.1 503 .*is draining.*HTTP/1.1 200 .*\"digit\": ?7", received, re.DOTALL
    )


def test_a_worker_that_cannot_start_keeps_nobody_waiting(tmp_path):
    models, aside = tmp_path / "var/models", tmp_path / "aside"
    with run_service(tmp_path / "var", workers=2) as service:
        models.rename(aside)
        models.write_text("no folder")
        os.kill(service.workers[0], signal.SIGKILL)
        assert wait_until(lambda: "cannot start yet" in service.log.read_text()), (
            service.log.read_text()
        )
        service.end()


@contextmanager
def slow_upload(service, path, content_length):
    """Send the head of a request, and then its body slower than the service ends."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {content_length}\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", service.port), 60)) as connection:
        connection.sendall(head.encode() + b"x")
        answer, stopped = [], threading.Event()

        def drip():
            with suppress(OSError):  # it has been answered
                while not stopped.wait(0.5):
                    connection.sendall(b"x")

        def listen():
            answer.append(connection.recv(65536))
            stopped.set()

        threads = [threading.Thread(target=target) for target in (drip, listen)]
        for thread in threads:
            thread.start()
        yield answer
        for thread in threads:
            thread.join()


@contextmanager
def requests_behind_events(service, job, *requests):
    """Send requests over the connection of a stream, which ends when the shutdown begins.

    So the service handles them right after that, however slow this test is.
    """
    stream = (
        f"GET /train/{job}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", service.port), 120)) as connection:
        connection.sendall(stream.encode() + b"".join(requests))
        received = [connection.recv(65536)]
        yield received
        received += iter(lambda: connection.recv(65536), b"")


class ShutdownResult(NamedTuple):
    """The result of a shutdown with many requests in progress."""

    behind_events: bytes
    code: int
    codes: tuple[int, ...]
    job: Job
    training_is_gone: bool
    events: list[bytes]
    lines: list[bytes]
    answers: list[bytes]
    waiting: HTTPResponse
    problem: dict[str, Any]
    log: str


def follow(service, path, received):
    """Read what comes of a stream, in a thread, until it ends."""
    address = f"http://127.0.0.1:{service.port}{path}"
    stream = Request(address, headers={"Accept": "text/event-stream"})

    def read():
        with urlopen(stream) as opened:  # a log is silent until the first line
            received.extend(opened)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


@pytest.fixture(scope="module", params=["1", "2"], ids=["alone", "two workers"])
def shutdown_result(request, tmp_path_factory, seven):
    """Shut down a service with much in progress.

    That is a training that two clients follow, a long upload, short uploads through both paths, and
    a file of weights in the queue.
    """
    state = tmp_path_factory.mktemp("ended") / "var"
    uploads = [("/predict", 10**6), ("/predict", 1000), ("/predict?explain=1", 1000)]
    events, lines = [], []
    with run_service(state, workers=request.param) as service, ExitStack() as stack:
        job = service.post("/train", b'{"epochs": 1000, "promote": "never"}')["id"]
        followers = [
            follow(service, f"/train/{job}/events", events),
            follow(service, f"/train/{job}/log?follow=true", lines),
        ]
        service.job_until(job, lambda body: body["progress"])
        stack.enter_context(FileLock(state / "uploads/.lock"))
        answers = [stack.enter_context(slow_upload(service, *upload)) for upload in uploads]
        waiting = stack.enter_context(closing(HTTPConnection("127.0.0.1", service.port)))
        waiting.request("POST", "/models", b"weights")
        behind_events = stack.enter_context(
            requests_behind_events(service, job, READINESS, raw_request(seven))
        )
        assert service.get("/health/ready")
        service.process.send_signal(signal.SIGTERM)
        code = service.process.wait(120)
        answer = waiting.getresponse()
        problem = json.load(answer)
        stack.close()
        for follower in followers:
            follower.join(120)
            assert not follower.is_alive(), "what is followed ends when the service ends"
        gone = service.training_is_gone()
    with closing(Database(f"sqlite:///{state / 'mynet.db'}")) as database:
        row = JobStore(database).job(job)
    raw_answers = [raw_answer for (raw_answer,) in answers]
    codes = (-signal.SIGTERM,) if request.param == "1" else (0, -signal.SIGTERM)
    responses = b"".join(behind_events), code, codes, row, gone, events, lines
    return ShutdownResult(*responses, raw_answers, answer, problem, service.log.read_text())


def test_it_is_not_ready_at_once_and_still_answers(shutdown_result):
    assert shutdown_result.behind_events.startswith(b"HTTP/1.1 200 ")
    assert_not_ready_and_answers(shutdown_result.behind_events)
    assert shutdown_result.code in shutdown_result.codes
    assert "Application shutdown complete" in shutdown_result.log


def test_who_follows_a_job_is_told_to_come_again(shutdown_result):
    assert b"retry: 2000\n" in shutdown_result.events[-4:]
    assert shutdown_result.events[0].startswith(b"event: status")


def test_a_followed_log_ends_with_the_service(shutdown_result):
    first = shutdown_result.lines[0].lstrip(b"\r")  # signs of life, if the start took long
    assert first.startswith(b"==>>> epoch: 0, batch index: 100, train loss: ")


def test_the_running_job_is_queued_again(shutdown_result):
    assert shutdown_result.training_is_gone
    assert (shutdown_result.job.status, shutdown_result.job.crashes) == ("queued", 0)


def test_who_would_get_no_answer_any_more_is_told_to_come_again(shutdown_result):
    assert (shutdown_result.waiting.status, shutdown_result.problem["code"]) == (503, "not_ready")
    assert shutdown_result.waiting.headers["retry-after"]
    for raw_answer in shutdown_result.answers:
        assert raw_answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: " in raw_answer.lower()
    assert len(re.findall(r"app\.access: POST .* 503 ", shutdown_result.log)) == 4
    assert not re.findall(r"app\.access: .* 500 ", shutdown_result.log)
