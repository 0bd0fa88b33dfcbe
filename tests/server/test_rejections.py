"""Invalid requests behind valid ones: each response comes in the order of the requests."""

import pytest

from tests.server.conftest import serve_idle
from tests.server.raw_http import LIVE, exchange

POST = b"POST %b HTTP/1.1\r\nHost: x\r\nX-Request-ID: first\r\nContent-Length: %d\r\n\r\n%b"
CHUNKED = b"POST /train HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
INVALID = {
    "garbage": b"GARBAGE\r\n\r\n",
    "connect": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "target": b"GET http://x:port/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "header": b"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n",
    "chunk": CHUNKED + b"no chunk",
    "large": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000,
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serve_idle(tmp_path_factory.mktemp("rejections")) as client:
        yield client


def jobs(client):
    return len(client.get("/train").json()["data"])


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID)
@pytest.mark.parametrize("path", ["/predict", "/predict?explain=false", "/feedback"])
def test_rejection_behind_a_valid_request_comes_second(client, seven, path, invalid):
    first, second = exchange(client, POST % (path.encode(), len(seven), seven) + invalid)
    assert first.status == (400 if path == "/feedback" else 200)
    assert first.headers["x-request-id"] == "first"
    assert second.status == 400
    assert second.problem["code"] == "malformed_request"


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID)
def test_rejection_behind_a_new_job_leaves_it_its_response(client, invalid):
    before = jobs(client)
    first, second = exchange(client, POST % (b"/train", 2, b"{}") + invalid)
    assert (first.status, second.status) == (202, 400)
    assert jobs(client) == before + 1


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID)
def test_rejection_behind_a_pipeline_comes_last(client, invalid):
    large = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    before = jobs(client)
    *responses, last = exchange(client, (large + LIVE) * 20 + invalid)
    assert [response.status for response in responses] == [200] * 40
    assert responses[-1].body == b'{"status":"live"}'
    assert last.problem["status"] == 400
    assert jobs(client) == before


def test_rejection_ends_the_connection(client):
    responses = exchange(client, LIVE + INVALID["garbage"] + LIVE * 5000)
    assert [response.status for response in responses] == [200, 400]


def test_rejection_after_connection_close_is_not_sent(client):
    closing = LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    (response,) = exchange(client, closing + INVALID["garbage"])
    assert response.body == b'{"status":"live"}'
