"""HTTP connections: partial requests, pipelining, upgrades, idle crowds, clients that hang up."""

import json
import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import png
from tests.rigs.load import uploads
from tests.rigs.load.closed_loop import Request, press_all
from tests.rigs.load.uploads import NO_IMAGE, form, raw_request, with_bad
from tests.service.running import ANSWER_TIMEOUT, run_service, wait_until


@pytest.fixture(scope="module")
def requests():
    return uploads.requests()


def answers(service, data, count, piece=None):
    """Send bytes, whole or in pieces, and give the status and the digit of so many answers."""
    with closing(
        socket.create_connection(("127.0.0.1", service.port), ANSWER_TIMEOUT)
    ) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), piece or len(data)):
            connection.sendall(data[start : start + (piece or len(data))])
        received = b""
        while len(found := parsed(received)) < count and (part := connection.recv(65536)):
            received += part
        return found


def parsed(received):
    found = []
    while (end := received.find(b"\r\n\r\n")) >= 0:
        length = int(re.search(rb"(?i)content-length: *(\d+)", received[:end])[1])
        body, received = received[end + 4 : end + 4 + length], received[end + 4 + length :]
        if len(body) < length:
            break
        found.append(json.loads(body) if body.startswith(b"{") else body)
    return found


def with_header(request, header):
    head, _, body = request.partition(b"\r\n\r\n")
    return head + b"\r\n" + header + b"\r\n\r\n" + body


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ"


@pytest.mark.parametrize("piece", [None, 400, 1])
@pytest.mark.parametrize("header", [b"X-Nothing: 1", OFFER, b"Connection: upgrade\r\nUpgrade: foo"])
def test_requests_may_come_in_pieces_and_offer_upgrades(service, requests, header, piece):
    data, digit = requests[0]
    (answer,) = answers(service, with_header(data, header), 1, piece)
    assert answer["digit"] == digit


@pytest.mark.parametrize("header", [b"X-Nothing: 1", OFFER])
def test_requests_in_a_row_are_answered_in_a_row(service, requests, header):
    data = b"".join(with_header(request.sent, header) for request in requests[:5])
    read = [answer["digit"] for answer in answers(service, data, 5)]
    assert read == [request.digit for request in requests[:5]]


def test_a_body_that_is_no_chunk_is_told_its_length_first(service, seven):
    chunked = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(seven), seven)
    assert answers(service, chunked + chunks, 1)[0]["digit"] == 7


def test_many_offers_in_a_row_are_passed_over(service):
    offer = (
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"
    )
    assert answers(service, offer * 600, 600) == [{"status": "live"}] * 600


def test_endless_headers_are_refused(service):
    with closing(
        socket.create_connection(("127.0.0.1", service.port), ANSWER_TIMEOUT)
    ) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nX: ")
        with suppress(ConnectionError):
            for _ in range(1000):
                connection.sendall(b"y" * 10_000)
            pytest.fail("ten megabytes of headers were taken")
    assert wait_until(lambda: "headers or trailers are larger" in service.log.read_text())


def test_small_images_that_are_explained_wait_for_no_photo(service, seven, mnist):
    digit = np.kron(mnist.test.pixels[0].numpy(), np.ones((100, 100), np.uint8))
    photos = [Request(raw_request(png(digit)), 7)] * 30
    with ThreadPoolExecutor() as threads:
        crowd = threads.submit(press_all, service.port, photos, 30)
        time.sleep(0.3)
        (answer,) = answers(service, post("/predict?explain=true", seven), 1)
        assert answer["digit"] == 7
        assert not crowd.done(), "the photos are under way still"
        assert crowd.result().wrong == 0


def post(path, content):
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
        path.encode(),
        len(content),
        content,
    )


def test_this_is_no_proxy(service):
    (answer,) = answers(service, b"CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", 1)
    assert (answer["code"], answer["detail"]) == (
        "malformed_request",
        "CONNECT is not supported: this service is not a proxy.",
    )


def test_bad_files_harm_nobody_in_a_crowd(service, requests):
    mixed = with_bad(requests, Request(form(NO_IMAGE), None), 1)
    pressed = press_all(service.port, mixed, 64)
    assert (pressed.lost, len(pressed.latencies)) == (0, len(requests))
    # A bad file needs a decoder, and on a busy machine the queue before it may be full.
    assert sum(pressed.bad.values()) == len(requests) // 10
    assert pressed.bad[415] and pressed.bad.keys() <= {415, 429}


def test_five_hundred_connections_are_answered(service, requests):
    pressed = press_all(service.port, requests + requests, 512)
    assert (pressed.lost, len(pressed.latencies)) == (0, 2 * len(requests))


def test_idle_connections_and_slow_senders_are_not_noticed(service, requests):
    """Requests at the same time are answered, and no socket stays open afterwards."""
    sockets_before, partial_request = sockets_of(service), requests[0].sent[:-1]
    with ExitStack() as slow:
        for number in range(2000):
            address = "127.0.0.1", service.port
            connection = slow.enter_context(
                closing(socket.create_connection(address, ANSWER_TIMEOUT))
            )
            connection.sendall(partial_request[: number % len(partial_request)])
        pressed = press_all(service.port, requests, 16)
        assert (pressed.lost, pressed.wrong, len(pressed.latencies)) == (0, 0, len(requests))
    assert wait_until(lambda: sockets_of(service) <= sockets_before)


def sockets_of(service):
    """Return how many sockets a service has open. Files are opened also by its supervisor."""
    descriptors = Path(f"/proc/{service.process.pid}/fd")
    if not descriptors.exists():
        pytest.skip("this system does not tell of the descriptors of a process")
    count = 0
    for descriptor in descriptors.iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            count += os.readlink(descriptor).startswith("socket:")
    return count


def test_over_the_queue_there_is_a_429_at_once_and_no_wrong_answer(tmp_path, requests):
    with run_service(tmp_path / "var", max_queue="8") as service:
        pressed = press_all(service.port, requests, 64)
        assert pressed.wrong == 0
        assert set(pressed.refused) == {429}
        assert pressed.latencies
        counted = service.get("/health/ready")["images"]
        assert counted["busy"] == pressed.refused[429]
        assert counted["answered"] == len(pressed.latencies)


def test_who_leaves_costs_no_forward_and_is_counted(service, mnist):
    digit = np.kron(mnist.test.pixels[0].numpy(), np.ones((60, 60), np.uint8))
    photo = png(np.maximum(digit, np.random.default_rng(1).integers(0, 40, digit.shape, np.uint8)))
    counts_before = service.get("/health/ready")["images"]
    for _ in range(12):
        with closing(socket.create_connection(("127.0.0.1", service.port))) as leaving:
            leaving.sendall(raw_request(photo))
    time.sleep(0.1)

    def counted():
        now = service.get("/health/ready")["images"]
        new = {code: count - counts_before.get(code, 0) for code, count in now.items()}
        return sum(new.values()) == 12 and new.get("client_gone", 0) >= 6

    assert wait_until(counted), service.get("/health/ready")["images"]
