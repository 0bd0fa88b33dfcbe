"""Trailers after a chunked body: the server ignores them, and limits their size."""

from contextlib import suppress

import pytest

from app.main import create_app
from tests.conftest import settings_in
from tests.served import open_socket, serve_app

HEAD = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n"
WAYS = ("/predict", "/train")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serve_app(create_app(settings_in(tmp_path_factory.mktemp("trailers")))) as client:
        yield client


def read_all(connection):
    """Read until the other side ends it."""
    data = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            data += part
    return data


def chunk(content):
    return b"%x\r\n%b\r\n" % (len(content), content)


def test_a_trailer_is_no_header(client, seven):
    trailers = b"X-Request-ID: of-the-trailer\r\nExpect: 100-continue\r\n\r\n"
    with open_socket(client) as connection:
        request = HEAD % b"/predict" + chunk(seven) + LAST + trailers
        connection.sendall(request + b"GET /health/live HTTP/1.0\r\n\r\n")
        response = read_all(connection)
    assert response.startswith(b"HTTP/1.1 200 ")
    assert b'"digit":7' in response
    assert b"of-the-trailer" not in response
    assert response.endswith(b'{"status":"live"}')


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize(
    ("prefix", "trailer"),
    [(LAST, b"a:b\r\n" * 2000), (LAST + b"a:", b"y" * 10_000), (b"5;", b"y" * 10_000)],
    ids=["many", "one", "extension"],
)
def test_endless_trailers_are_refused(client, path, prefix, trailer):
    with open_socket(client) as connection:
        connection.sendall(HEAD % path.encode() + chunk(b"{}") + prefix)
        with suppress(ConnectionError):
            for _ in range(1000):
                connection.sendall(trailer)
            pytest.fail("ten megabytes of trailers were taken")
    assert client.get("/train").json()["data"] == []


def test_who_sends_endless_trailers_is_told(client):
    with open_socket(client) as connection:
        connection.sendall(HEAD % b"/train" + LAST + b"a:b\r\n" * 14_000)
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")


def test_a_body_is_no_trailer(client):
    """However large, and in however small chunks."""
    with open_socket(client) as connection:
        connection.sendall(HEAD % b"/predict" + chunk(b"x") * 50_000 + chunk(b"x" * 10**6) + LAST)
        connection.sendall(b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 415"
