"""What comes after a chunked body is left out, and not without end."""

from contextlib import suppress

import pytest

from app.main import create_app
from tests.conftest import settings_in
from tests.served import connected, served

HEAD = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n"
WAYS = ("/predict", "/train")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with served(create_app(settings_in(tmp_path_factory.mktemp("trailers")))) as client:
        yield client


def heard(connection):
    """Read until the other side ends it."""
    came = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            came += part
    return came


def chunk(content):
    return b"%x\r\n%b\r\n" % (len(content), content)


def test_a_trailer_is_no_header(client, seven):
    trailers = b"X-Request-ID: of-the-trailer\r\nExpect: 100-continue\r\n\r\n"
    with connected(client) as connection:
        sent = HEAD % b"/predict" + chunk(seven) + LAST + trailers
        connection.sendall(sent + b"GET /health/live HTTP/1.0\r\n\r\n")
        came = heard(connection)
    assert came.startswith(b"HTTP/1.1 200 ")
    assert b'"digit":7' in came
    assert b"of-the-trailer" not in came
    assert came.endswith(b'{"status":"live"}')


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize(
    ("before", "endless"),
    [(LAST, b"a:b\r\n" * 2000), (LAST + b"a:", b"y" * 10_000), (b"5;", b"y" * 10_000)],
    ids=["many", "one", "extension"],
)
def test_endless_trailers_are_refused(client, path, before, endless):
    with connected(client) as connection:
        connection.sendall(HEAD % path.encode() + chunk(b"{}") + before)
        with suppress(ConnectionError):
            for _ in range(1000):
                connection.sendall(endless)
            pytest.fail("ten megabytes of trailers were taken")
    assert client.get("/train").json()["data"] == []


def test_who_sends_endless_trailers_is_told(client):
    with connected(client) as connection:
        connection.sendall(HEAD % b"/train" + LAST + b"a:b\r\n" * 14_000)
        assert heard(connection).startswith(b"HTTP/1.1 400 ")


def test_a_body_is_no_trailer(client):
    """However large, and in however small chunks."""
    with connected(client) as connection:
        connection.sendall(HEAD % b"/predict" + chunk(b"x") * 50_000 + chunk(b"x" * 10**6) + LAST)
        connection.sendall(b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 415"
