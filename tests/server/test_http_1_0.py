"""Responses to HTTP/1.0 clients, which know neither chunks nor persistent connections."""

import pytest

from tests.served import open_socket
from tests.server.conftest import serve_idle
from tests.server.raw_http import exchange

GET = b"GET %b HTTP/1.0\r\n\r\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serve_idle(tmp_path_factory.mktemp("http_1_0")) as client:
        yield client


@pytest.fixture
def job(client):
    return "/train/" + client.post("/train", json={}).json()["id"]


@pytest.fixture
def cancelled_job(client, job):
    assert client.post(f"{job}/cancel").status_code == 202
    return job


@pytest.mark.parametrize("suffix", ["/events", "/events?after=1", "/log?follow=true"])
def test_stream_to_http_1_0_client_is_not_chunked(client, cancelled_job, suffix):
    path = cancelled_job + suffix
    expected = client.get(path)
    assert expected.headers["transfer-encoding"] == "chunked"
    (response,) = exchange(client, GET % path.encode())
    assert response.status == 200
    assert response.body == expected.content
    assert "transfer-encoding" not in response.headers
    assert response.headers["connection"] == "close"


def test_stream_to_http_1_0_client_sends_each_event_and_closes(client, job):
    received = b""
    with open_socket(client) as connection:
        connection.sendall(GET % f"{job}/events".encode())
        while b'"queued"' not in received:
            received += connection.recv(2**16)
        client.post(f"{job}/cancel")
        while part := connection.recv(2**16):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert body == client.get(f"{job}/events").content


def test_response_with_length_to_http_1_0_client_is_complete(client):
    expected = client.get("/models/1/weights").content
    (response,) = exchange(client, GET % b"/models/1/weights")
    assert response.status == 200
    assert response.headers["content-length"] == str(len(expected))
    assert response.body == expected


def test_head_of_a_stream_to_http_1_0_client_has_no_body(client, cancelled_job):
    (response,) = exchange(client, b"HEAD %b/events HTTP/1.0\r\n\r\n" % cancelled_job.encode())
    assert (response.status, response.body) == (200, b"")
    assert "transfer-encoding" not in response.headers


def test_empty_stream_to_http_1_0_client_is_204(client, cancelled_job):
    (response,) = exchange(client, GET % f"{cancelled_job}/events?after=100".encode())
    assert (response.status, response.body) == (204, b"")


def test_requests_behind_http_1_0_are_not_answered(client):
    responses = exchange(client, (GET % b"/health/live") * 3)
    assert [response.status for response in responses] == [200]
