"""The limit of 64 KiB for the headers of a request."""

import pytest

from app.main import create_app
from app.server.protocol import MAX_HEAD_BYTES
from tests.conftest import settings_in
from tests.served import serve_app
from tests.server.raw_http import exchange

CLOSE = b"Connection: close\r\n"
UPGRADE = b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n"
PATHS = [b"/predict", b"/predict?explain=false"]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serve_app(create_app(settings_in(tmp_path_factory.mktemp("heads")))) as client:
        yield client


def one_header(size):
    return b"X: " + b"y" * (size - 5) + b"\r\n"


def blanks_before_a_value(size):
    return b"X:" + b" " * (size - 5) + b"y\r\n"


def many_headers(size):
    return b"a:b\r\n" * (size // 5 - 10) + one_header(50 + size % 5)


def head(path, size, content_length, padding, options):
    """Return a head of exactly `size` bytes."""
    start = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % (path, content_length)
    head = start + options + padding(size - len(start) - len(options) - 2) + b"\r\n"
    assert len(head) == size
    return head


@pytest.mark.parametrize("padding", [one_header, blanks_before_a_value, many_headers])
@pytest.mark.parametrize("options", [CLOSE, UPGRADE], ids=["plain", "upgrade"])
@pytest.mark.parametrize("path", PATHS)
def test_head_of_the_largest_size_is_read(client, seven, path, options, padding):
    request = head(path, MAX_HEAD_BYTES, len(seven), padding, options)
    (response,) = exchange(client, request + seven)
    assert response.status == 200
    assert b'"digit":7' in response.body


@pytest.mark.parametrize("padding", [one_header, blanks_before_a_value, many_headers])
@pytest.mark.parametrize("options", [b"", CLOSE, UPGRADE], ids=["open", "plain", "upgrade"])
@pytest.mark.parametrize("size", [MAX_HEAD_BYTES + 1, 81_500])
def test_head_over_the_limit_is_rejected(client, size, options, padding):
    for path in (b"/predict", b"/train"):
        (response,) = exchange(client, head(path, size, 2, padding, options) + b"{}")
        assert response.problem["code"] == "malformed_request"
        assert f"larger than {MAX_HEAD_BYTES} bytes" in response.problem["detail"]
    assert client.get("/train").json()["data"] == []


def test_large_body_behind_the_largest_head_is_read(client):
    request = head(b"/predict", MAX_HEAD_BYTES, 200_000, one_header, CLOSE)
    (response,) = exchange(client, request + b"x" * 200_000)
    assert response.status == 415


def test_each_head_is_limited_alone(client):
    get = head(b"/predict", 20_000, 0, one_header, b"")
    responses = exchange(client, get * 10 + head(b"/predict", 20_000, 0, one_header, CLOSE))
    assert {response.status for response in responses} == {415}
    assert len(responses) == 11


@pytest.mark.parametrize("path", [b"/predict", b"/train"])
@pytest.mark.parametrize("size", [MAX_HEAD_BYTES + 1, 81_500])
def test_trailers_over_the_limit_are_rejected(client, path, size):
    start = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    (response,) = exchange(client, start + b"2\r\n{}\r\n0\r\n" + one_header(size - 2) + b"\r\n")
    assert response.problem["code"] == "malformed_request"
    assert client.get("/train").json()["data"] == []
