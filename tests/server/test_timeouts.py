"""Time-outs for slow clients, which do not slow down other clients."""

import json
import os
import re
import resource
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack, closing

import numpy as np
import pytest

from app.main import create_app
from app.server import timeouts
from app.telemetry import logs
from tests.conftest import png
from tests.served import open_socket, serve_app
from tests.service.running import wait_until

BODY = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
WAYS = ("/predict", "/predict?explain=false", "/train")


@pytest.fixture
def client(settings, monkeypatch):
    # Long enough for who connects and then sends at once, on a busy machine.
    monkeypatch.setattr(timeouts, "IDLE_TIMEOUT", 1.0)
    monkeypatch.setattr(timeouts, "MIN_BYTES", 100)
    with serve_app(create_app(settings)) as client:
        yield client


def read_all(connection):
    """Read until the other side ends it."""
    data = b""
    while part := connection.recv(65536):
        data += part
    return data


def is_problem(response, status, code):
    """Return whether this is an answer as routes give, and the last one."""
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode().lower().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    problem = json.loads(body)
    names = {"type", "title", "status", "detail", "code", "request_id"}
    return (
        first.startswith(f"http/1.1 {status} ")
        and headers["content-type"] == "application/problem+json"
        and headers["connection"] == "close"
        and headers["content-length"] == str(len(body))
        and re.fullmatch("[0-9a-f]{16}", problem["request_id"])
        and headers["x-request-id"] == problem["request_id"]
        and ("retry-after" in headers) == (status == 503)
        and (problem["status"], problem["code"], set(problem)) == (status, code, names)
    )


def sockets():
    """Count the sockets of this process, at both ends."""
    return sum(is_socket(int(number)) for number in os.listdir("/dev/fd"))


def is_socket(number):
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:  # closed since it was listed
        return False


def test_who_says_nothing_is_let_go_without_a_word(client):
    with open_socket(client) as connection:
        assert read_all(connection) == b""


@pytest.mark.parametrize("data", [b"P", b"GET /health/live HTTP/1.1\r\nHost:"])
def test_a_head_that_does_not_come_is_a_408(client, data):
    with open_socket(client) as connection:
        connection.sendall(data)
        assert is_problem(read_all(connection), 408, "request_timeout")


@pytest.mark.parametrize(
    "data",
    [
        b"no request\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000,
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /train HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno chunk",
    ],
    ids=["garbage", "large", "proxy", "chunk"],
)
def test_what_is_no_request_is_a_400_and_found_in_the_log(client, caplog, data):
    ids = []

    def note_id(record):
        if record.name.startswith("app.server"):
            ids.append(logs.request_id.get())
        return True

    with (
        open_socket(client) as connection,
        caplog.at_level("INFO", "app.server"),
        caplog.filtering(note_id),
    ):
        connection.sendall(data)
        response = read_all(connection)
    assert is_problem(response, 400, "malformed_request")
    assert "status=400" in caplog.text
    assert ids == [json.loads(response.partition(b"\r\n\r\n")[2])["request_id"]]


def test_who_is_answered_already_is_told_nothing_more(client):
    """What is no chunk comes after the route's refusal, which waits for no body."""
    chunked = b"POST /feedback HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with open_socket(client) as connection:
        connection.sendall(chunked + b"5\r\nhello\r\n")
        assert connection.recv(12) == b"HTTP/1.1 400"
        connection.sendall(b"no chunk")
        assert b"HTTP/1.1" not in read_all(connection)


@pytest.mark.parametrize("path", WAYS)
def test_a_body_that_does_not_come_is_a_408_and_costs_no_work(client, path):
    with open_socket(client) as connection:
        connection.sendall(BODY % path.encode() + b"x" * 10)
        assert is_problem(read_all(connection), 408, "request_timeout")
    assert client.get("/train").json()["data"] == []
    assert client.get("/health/ready").json()["images"].get("answered", 0) == 0


def test_a_second_request_is_waited_for_as_long(client):
    live = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with open_socket(client) as connection:
        connection.sendall(live + live[:20])
        answers = read_all(connection)
    assert answers.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answers


@pytest.fixture
def ended_periods(monkeypatch):
    """The connections whose time-out for reading ended, once for each time."""
    protocols, original = [], timeouts.TimeoutProtocol._on_read_timeout

    def record_end(connection, received_before):
        original(connection, received_before)
        protocols.append(connection)

    monkeypatch.setattr(timeouts.TimeoutProtocol, "_on_read_timeout", record_end)
    return protocols


def test_who_is_slow_but_not_too_slow_is_answered(
    client, mnist, monkeypatch, connections, ended_periods
):
    """Both ways at once, since they are waited for. A piece comes in each period."""
    monkeypatch.setattr(timeouts, "IDLE_TIMEOUT", 2.0)
    noise = np.random.default_rng(1).integers(0, 256, (28, 28), np.uint8)
    image = png(np.maximum(mnist.test.pixels[0].numpy(), noise // 8))
    third = len(image) // 3
    pieces = [image[:third], image[third : 2 * third], image[2 * third :]]
    assert all(len(piece) >= timeouts.MIN_BYTES for piece in pieces)

    def have_ended(periods):
        ended = [ended_periods.count(connection) for connection in connections]
        return len(ended) == 2 and min(ended) >= periods

    with open_socket(client) as one, open_socket(client) as other:
        slow = dict(zip(WAYS[:2], (one, other), strict=True))
        for path, connection in slow.items():
            connection.sendall(BODY.replace(b"1000", b"%d" % len(image)) % path.encode())
        for periods, piece in enumerate(pieces):
            assert wait_until(lambda periods=periods: have_ended(periods))
            for connection in slow.values():
                connection.sendall(piece)
        for connection in slow.values():
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_who_does_not_read_is_let_go(client, connections):
    weights = b"GET /models/1/weights HTTP/1.1\r\nHost: x\r\n\r\n"
    before = sockets()
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((client.base_url.host, client.base_url.port))
        connection.sendall(weights * 8)
        assert wait_until(lambda: connections and connections[0].transport.is_closing())
        assert wait_until(lambda: sockets() <= before + 1)


def test_nobody_notices_and_no_socket_stays_open(client, seven):
    client.get("/health/live")
    before = sockets()
    with ExitStack() as slow:
        for number in range(100):
            connection = slow.enter_context(open_socket(client))
            connection.sendall((b"", b"POST", BODY % b"/predict", BODY % b"/train")[number % 4])
        assert client.post("/predict", content=seven).json()["digit"] == 7
        assert wait_until(lambda: sockets() <= before + 100)
        assert client.post("/predict", content=seven).json()["digit"] == 7
    assert wait_until(lambda: sockets() <= before)


def test_over_the_number_of_files_there_is_a_503(client, monkeypatch):
    monkeypatch.setattr(timeouts, "max_connections", lambda: 3)
    monkeypatch.setattr(timeouts, "IDLE_TIMEOUT", 60.0)  # the three stay
    with ExitStack() as crowd:
        for _ in range(3):
            crowd.enter_context(open_socket(client))
        with open_socket(client) as one_more:
            assert is_problem(read_all(one_more), 503, "not_ready")
    assert wait_until(lambda: client.get("/health/live").status_code == 200)


def test_as_many_files_as_possible_may_be_open():
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (600, 2000));"
        "from app.server.timeouts import max_connections as limit;"
        "print(limit(), *r.getrlimit(r.RLIMIT_NOFILE))"
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 2000
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1744", "2000", "2000"]
