"""Versions, Host and Transfer-Encoding of requests: what is rejected, and with which status."""

import pytest

from app.main import create_app
from tests.conftest import settings_in
from tests.served import serve_app
from tests.server.raw_http import LIVE, exchange

LIVE_BODY = b'{"status":"live"}'
CLOSE = b"Connection: close\r\n\r\n"
MALFORMED = 400, "malformed_request"
VERSION = 505, "http_version_not_supported"
CODING = 501, "transfer_encoding_not_supported"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serve_app(create_app(settings_in(tmp_path_factory.mktemp("heads")))) as client:
        yield client


def jobs(client):
    return client.get("/train").json()["data"]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b" HTTP/1.1\r\n", (*MALFORMED, "has 0 Host headers")),
        (b" HTTP/1.1\r\nHost: x\r\nHost: x\r\n", (*MALFORMED, "has 2 Host headers")),
        (b" HTTP/1.1\r\nHost: x\r\nhost: y\r\n", (*MALFORMED, "has 2 Host headers")),
        (b" HTTP/1.0\r\nHost: x\r\nHost: y\r\n", (*MALFORMED, "has 2 Host headers")),
        (b" HTTP/0.9\r\nHost: x\r\n", (*MALFORMED, "HTTP/0.9")),
        (b"\r\n", (*MALFORMED, "HTTP/1.1")),
        (b" HTTP/2.0\r\nHost: x\r\n", (*VERSION, "HTTP/2.0 is not supported")),
        (b" HTTP/2.0\r\n", (*VERSION, "HTTP/2.0 is not supported")),
        (b" HTTP/3.0\r\nHost: x\r\n", (*MALFORMED, "not valid HTTP")),
    ],
)
@pytest.mark.parametrize("target", [b"GET /health/live", b"POST /predict"])
@pytest.mark.parametrize("upgrade", [b"", b"Connection: upgrade\r\nUpgrade: h2c\r\n"])
def test_head_without_valid_version_or_host_is_rejected(client, target, upgrade, head, expected):
    (response,) = exchange(client, target + head + upgrade + b"Content-Length: 0\r\n\r\n")
    status, code, detail = expected
    assert (response.status, response.problem["code"]) == (status, code)
    assert detail in response.problem["detail"]


@pytest.mark.parametrize(
    ("codings", "expected"),
    [
        ([b"gzip, chunked"], CODING),
        ([b"gzip", b"chunked"], CODING),
        ([b"identity, chunked"], CODING),
        ([b"gzip"], MALFORMED),
        ([b"identity"], MALFORMED),
        ([b"chunked, gzip"], MALFORMED),
        ([b"chunked,"], MALFORMED),
        ([b"xchunked"], MALFORMED),
    ],
)
@pytest.mark.parametrize("path", [b"/predict", b"/train"])
def test_transfer_encoding_other_than_chunked_is_rejected(client, path, codings, expected):
    lines = b"".join(b"Transfer-Encoding: %b\r\n" % coding for coding in codings)
    request = b"POST %b HTTP/1.1\r\nHost: x\r\n%b\r\n2\r\n{}\r\n0\r\n\r\n" % (path, lines)
    (response,) = exchange(client, request + LIVE)
    assert (response.status, response.problem["code"]) == expected
    assert jobs(client) == []


@pytest.mark.parametrize("coding", [b"chunked", b"CHUNKED", b" chunked "])
def test_chunked_body_is_read(client, seven, coding):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %b\r\n" % coding
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(seven), seven)
    (response,) = exchange(client, head + CLOSE + body)
    assert b'"digit":7' in response.body


@pytest.mark.parametrize(
    "request_line", [b"GET /health/live HTTP/1.0\r\n", b"GET http://x/health/live HTTP/1.0\r\n"]
)
def test_http_1_0_needs_no_host(client, request_line):
    (response,) = exchange(client, request_line + b"\r\n")
    assert (response.status, response.body) == (200, LIVE_BODY)


def test_empty_host_is_accepted(client):
    (response,) = exchange(client, b"GET /health/live HTTP/1.1\r\nHost:\r\n" + CLOSE)
    assert (response.status, response.body) == (200, LIVE_BODY)


def test_head_behind_a_valid_request_is_rejected_after_its_response(client, seven):
    predict = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
    without_host = b"GET /health/live HTTP/1.1\r\n\r\n"
    first, second = exchange(client, predict % (len(seven), seven) + without_host)
    assert (first.status, second.status) == (200, 400)
