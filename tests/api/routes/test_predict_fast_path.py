"""The short way answers as the route does."""

import json
import logging
import re
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import SecretStr

from app.api.schemas.predictions import Prediction
from app.main import create_app
from app.predict import preprocess_batch
from app.server.fast_path import FastCycle, KnownHeads
from app.server.protocol import Protocol
from tests.conftest import png, settings_in
from tests.served import open_socket, serve_app
from tests.service.running import wait_until

FORM = {"content-type": "multipart/form-data; boundary=x"}
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
THE_ROUTE = "/predict?explain=false"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serve_app(create_app(settings_in(tmp_path_factory.mktemp("express")))) as client:
        yield client


def form(upload):
    return HEAD + upload + b"\r\n--x--\r\n"


def post_both_ways(client, **request):
    """Return the answers of the short way and of the route."""
    return [client.post(path, **request) for path in ("/predict", THE_ROUTE)]


def comparable(answer):
    """Leave out what differs from answer to answer."""
    random_fields = ("id", "request_id")
    return answer.status_code, {k: v for k, v in answer.json().items() if k not in random_fields}


@pytest.fixture
def fast_path_client(client, monkeypatch):
    """A client whose requests must take the short way."""

    def fail(*_):
        raise AssertionError("it went to the route")

    monkeypatch.setattr("app.api.request_body.read_image", fail)
    return client


def test_forms_and_bare_images_take_it(fast_path_client, seven):
    for request in ({"content": seven}, {"content": form(seven), "headers": FORM}):
        assert fast_path_client.post("/predict", **request).json()["digit"] == 7


@pytest.mark.parametrize("wrap", [lambda upload: (upload, {}), lambda upload: (form(upload), FORM)])
def test_both_ways_answer_alike(client, seven, wrap):
    blank = png(np.zeros((28, 28), np.uint8))
    for upload, status in (
        (seven, 200),
        (b"", 415),
        (b"hello", 415),
        (seven[:90], 415),
        (blank, 422),
    ):
        content, headers = wrap(upload)
        one, other = post_both_ways(client, content=content, headers=headers)
        assert comparable(one) == comparable(other)
        assert one.status_code == status
        assert one.headers["content-type"] == other.headers["content-type"]


def test_the_answer_is_what_the_documentation_shows(client, seven):
    answer = client.post("/predict", content=seven)
    documented = Prediction.model_validate_json(answer.content, strict=True)
    fields = documented.model_dump(exclude_none=True)
    assert answer.json() == {**fields, "reason": None}
    assert re.fullmatch("[0-9a-f]{16}", documented.id)


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"x", {"content-type": "multipart/form-data"}),
        (b"no form", FORM),
        (HEAD + b"abc", FORM),
        (form(b"a")[:-7] + b"\r\n" + form(b"b"), FORM),
        (b"{", {"content-type": "application/json"}),
        (b'{"image": "aGVsbG8="}', {"content-type": "application/json"}),
    ],
)
def test_what_is_not_plain_is_answered_by_the_route(client, content, headers):
    one, other = post_both_ways(client, content=content, headers=headers)
    assert comparable(one) == comparable(other)
    assert one.headers["content-type"] == "application/problem+json"


def test_a_body_may_come_in_pieces_and_without_its_length(client, seven):
    whole = form(seven)
    pieces = [whole[start : start + 50] for start in range(0, len(whole), 50)]
    for headers in (FORM, {**FORM, "content-length": str(len(whole))}):
        assert client.post("/predict", content=iter(pieces), headers=headers).json()["digit"] == 7


def test_a_large_image_is_answered(client, mnist):
    noise = np.random.default_rng(1).integers(0, 60, (560, 560), np.uint8)
    large = np.kron(mnist.test.pixels[0].numpy(), np.ones((20, 20), np.uint8))
    upload = png(np.maximum(large, noise))
    assert len(upload) > 20 * 1024
    assert client.post("/predict", content=upload).json()["digit"] == 7


def test_ids_and_log_are_those_of_every_request(client, seven, caplog):
    def lines():
        messages = [record.getMessage() for record in caplog.records if record.name == "app.access"]
        return [line.split()[:3] for line in messages]

    with caplog.at_level(logging.INFO, "app.access"):
        answer = client.post("/predict", content=seven, headers={"X-Request-ID": "mine"})
        client.post("/predict", content=b"no image")
        # The app is shared: the line of an earlier test's last request may come first.
        assert wait_until(lambda: lines()[-1:] == [["POST", "/predict", "415"]])
    assert answer.headers["x-request-id"] == "mine"
    assert lines()[-2:] == [["POST", "/predict", "200"], ["POST", "/predict", "415"]]
    fields = [record.known for record in caplog.records if record.name == "app.access"]
    assert fields[-2:] == [{"version": 1}, {}]


def test_a_defect_is_a_500_without_internals(client, seven, monkeypatch):
    monkeypatch.setattr(preprocess_batch, "preprocess_if_small", lambda *_: 1 / 0)
    answer = client.post("/predict", content=seven)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "division" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_other_methods_and_paths_are_not_taken(client, seven):
    assert client.put("/predict", content=seven).status_code == 405
    assert client.post("/predict/batch", content=seven).status_code == 400


def test_the_app_logs_a_defect_of_the_route_once(client, monkeypatch, caplog):
    monkeypatch.setattr("app.api.request_body.parse", lambda *_: 1 / 0)
    answer = client.post("/predict", content=b"{}", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    # uvicorn logs the error too, unless `logs.configure` has filtered it (tests/telemetry).
    errors = [
        record.exc_info[0]
        for record in caplog.records
        if record.name.startswith("app.") and record.exc_info
    ]
    assert errors == [ZeroDivisionError]
    # uvicorn closes the connection after it, on which the client may send the next request.
    assert answer.headers["connection"] == "close"


def test_a_length_of_many_digits_is_no_defect(client, seven):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %s%d\r\n\r\n"
    with open_socket(client) as connection:
        connection.sendall(head % (b"0" * 5000, len(seven)) + seven)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_a_small_file_with_many_pixels_is_read_in_a_thread(fast_path_client, mnist):
    large = np.kron(mnist.test.pixels[0].numpy(), np.ones((20, 20), np.uint8))
    assert len(png(large)) < 16 * 1024
    assert fast_path_client.post("/predict", content=png(large)).json()["digit"] == 7
    bomb = png(np.zeros((8000, 8000), np.uint8))[:16_000]
    assert fast_path_client.post("/predict", content=bomb).json()["code"] == "image_too_large"


@pytest.mark.parametrize("header", ["connection", "expect"])
def test_who_wants_more_of_the_connection_is_answered_by_the_route(client, seven, header):
    value = {"connection": "close", "expect": "100-continue"}[header]
    answer = client.post("/predict", content=seven, headers={header: value})
    assert answer.json()["digit"] == 7
    assert (answer.headers.get("connection") == "close") == (header == "connection")


def test_an_answer_that_cannot_be_given_harms_no_other(client, seven, monkeypatch, caplog):
    whole = FastCycle.respond_ok

    def fail_once(*_):
        monkeypatch.setattr(FastCycle, "respond_ok", whole)
        raise ZeroDivisionError

    monkeypatch.setattr(FastCycle, "respond_ok", fail_once)
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    with open_socket(client) as connection:
        connection.sendall(head % len(seven) + seven)
        assert wait_until(lambda: "prediction callback failed" in caplog.text)
        assert client.post("/predict", content=seven).json()["digit"] == 7
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_two_content_types_are_for_the_route(client, seven):
    headers = [("content-type", "application/json"), ("content-type", "image/png")]
    one, other = post_both_ways(client, content=seven, headers=headers)
    assert comparable(one) == comparable(other)


def exchange(connection, request):
    """Send a request in one piece, and return the answer's status, id and digit."""
    connection.sendall(request)
    answer = connection.recv(65536)
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), re.search(rb"x-request-id: (\S+)", head)[1], json.loads(content)


def test_a_known_head_is_not_parsed_again(client, mnist, monkeypatch):
    by_size = {}
    for pixels, label in zip(mnist.test.pixels[:300].numpy(), mnist.test.labels, strict=False):
        by_size.setdefault(len(png(pixels)), []).append((png(pixels), int(label)))
    size, images = max(by_size.items(), key=lambda item: len(item[1]))
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size
    with open_socket(client) as connection, open_socket(client) as other:
        assert exchange(connection, head + images[0][0])[0] == 200
        monkeypatch.setattr(Protocol, "on_headers_complete", lambda *_: 1 / 0)
        for image, digit in images:
            status, _, answer = exchange(other, head + image)
            assert (status, answer["digit"]) == (200, digit)


def test_only_one_whole_request_has_a_known_head():
    heads, head = KnownHeads(), b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    cycle = SimpleNamespace(headers=[], handler=None, body=b"abc")
    for data in (head + b"abcPOST", b"\r\n\r\n" + head + b"abc", head.replace(b"\r", b"") + b"abc"):
        heads.add(data, cycle)
        assert heads.find(data) is None
    heads.add(head + b"abc", cycle)
    assert heads.find(head + b"xyz")[1] == b"xyz"
    for data in (head, head + b"ab", head + b"abcd", b"\r\n" + head + b"abc", b"", b"\r\n\r\n"):
        assert heads.find(data) is None


def test_heads_with_a_key_are_not_stored(tmp_path, seven, monkeypatch):
    key, heads = SecretStr("a-key-of-enough-characters"), []
    monkeypatch.setattr(KnownHeads, "add", lambda *arguments: heads.append(arguments[1]))
    secret = key.get_secret_value().encode()
    lines = (b"Accept: */*", b"authorization: Bearer " + secret, b"X-API-Key:" + secret)
    for auth in ("none", "predict", "keys"):
        settings = settings_in(tmp_path).model_copy(update={"auth": auth, "admin_key": key})
        with serve_app(create_app(settings)) as client:
            for line in lines:
                head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%b\r\n"
                with open_socket(client) as connection:
                    connection.sendall(head % (len(seven), line + b"\r\n") + seven)
                    status = int(connection.recv(1000).split()[1])
                assert status == (401 if auth == "keys" and secret not in line else 200)
        assert len(heads) == (auth != "keys"), "the head without a key"
        assert not any(secret in data for data in heads)
        heads.clear()
