"""Requests in a row: each is answered, and no more are read than that."""

import socket
import threading
from contextlib import closing

import pytest

from app.main import create_app
from app.server.flow_control import CHUNK_BYTES
from tests.conftest import settings_in
from tests.served import serve_app
from tests.service.running import wait_until

LARGE = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
SMALL = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serve_app(create_app(settings_in(tmp_path_factory.mktemp("pipelines")))) as client:
        yield client


def connected(client, *, receives=0):
    connection = socket.socket()
    if receives:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    connection.connect((client.base_url.host, client.base_url.port))
    connection.settimeout(120)
    return closing(connection)


def sending(connection, data):
    thread = threading.Thread(target=connection.sendall, args=(data,), daemon=True)
    thread.start()
    return thread


def answers(connection, marks):
    """Read what has each mark once, in this order."""
    data, position = bytearray(), 0
    for mark in marks:
        while (found := data.find(mark, position)) < 0:
            del data[:position]
            position, part = 0, connection.recv(2**20)
            assert part, data[-300:]
            data += part
        position = found + len(mark)


def test_what_waits_for_an_answer_is_not_read_on_and_yet_answered(client, connections, seven):
    predict = POST % len(seven) + seven
    small, live, digit = 2000, b'{"status":"live"}', b'"digit":7'
    with connected(client, receives=4096) as connection:
        sender = sending(connection, LARGE * 150 + (SMALL * 20 + predict) * (small // 20))
        assert wait_until(lambda: connections and connections[0].flow.write_paused)
        sender.join(1)
        (server,) = connections
        assert server.flow.read_paused
        assert 0 < len(server.pipeline) <= CHUNK_BYTES // len(SMALL) + 1
        answers(connection, [b'"openapi"'] * 150 + ([live] * 20 + [digit]) * (small // 20))
        sender.join()
        connection.sendall(predict + SMALL)
        answers(connection, [digit, live])
        assert wait_until(lambda: not (server.flow.read_paused or server.flow.unread))


@pytest.mark.parametrize("first", [SMALL, b""])
def test_a_row_of_uploads_is_answered_whatever_their_size(client, first, seven, monkeypatch):
    """The short way takes small ones, the other is paused for large ones."""
    monkeypatch.setattr("app.api.routes.predict_fast_path.MAX_FAST_BYTES", 1000)
    uploads = [seven, seven + b"x" * 2000, seven + b"x" * 300_000, seven] * 10
    with connected(client) as connection:
        sending(connection, b"".join(first + POST % len(upload) + upload for upload in uploads))
        answers(connection, ([b'"live"'] * bool(first) + [b'"digit":7']) * 40)


def test_a_row_that_ends_within_a_request_is_waited_for(client):
    requests = SMALL * 1000
    with connected(client) as connection:
        for start in range(0, len(requests), 30_001):
            connection.sendall(requests[start : start + 30_001])
        answers(connection, [b'"live"'] * 1000)
        connection.sendall(SMALL[:10])
        connection.sendall(SMALL[10:])
        answers(connection, [b'"live"'])


def test_who_leaves_with_requests_in_a_row_leaves_nothing(client, connections):
    with connected(client, receives=4096) as connection:
        sender = sending(connection, LARGE * 150 + SMALL * 4000)
        assert wait_until(lambda: connections and connections[0].flow.write_paused)
        sender.join(1)
        connection.shutdown(socket.SHUT_RDWR)
        sender.join()
    assert wait_until(lambda: not connections[0].pipeline and not connections[0].flow.unread)
    assert client.get("/health/live").status_code == 200
