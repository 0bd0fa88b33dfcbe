"""Limits of the contract, each set low: 413, 429, 504, 401."""

import asyncio
import threading

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.predict.image_decoders import ImageDecoders
from tests.conftest import png, settings_in


@pytest.fixture
def limited_client(settings):
    clients = []

    def limited_client(**changes):
        app = create_app(settings.model_copy(update=changes))
        clients.append(TestClient(app, raise_server_exceptions=False))
        return clients[-1].__enter__()

    yield limited_client
    for client in clients:
        client.__exit__(None, None, None)


def test_a_body_that_says_that_it_is_too_large_is_refused_unread(limited_client):
    client = limited_client(max_body_bytes=1024)

    def unread_body():
        raise AssertionError("the body was read")
        yield b""

    answer = client.post("/predict", content=unread_body(), headers={"content-length": "999999"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert "1024" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/predict", "/predict/batch", "/train", "/models", "/models/current"]
)
def test_a_body_that_turns_out_too_large_is_refused(limited_client, path):
    client = limited_client(max_body_bytes=1024)
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    chunks = (head if n == 0 else b"x" * 100 for n in range(100))
    method = "PUT" if path.endswith("current") else "POST"
    form = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.request(method, path, content=chunks, headers=form if "batch" in path else {})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_an_image_with_too_many_pixels_is_refused(limited_client):
    client = limited_client(max_pixels=1000)
    answer = client.post("/predict", content=png(np.zeros((40, 50), np.uint8)))
    assert (answer.status_code, answer.json()["code"]) == (413, "image_too_large")
    assert "50" in answer.json()["detail"]
    assert "1000" in answer.json()["detail"].replace(",", "").replace(" ", "")


@pytest.fixture
def photo(digits):
    """A seven, so large that it needs a decoder."""
    return png(np.kron(digits[0], np.ones((20, 20), np.uint8)))


def test_a_full_queue_is_a_429_with_a_time(limited_client, monkeypatch, photo):
    gate, entered = threading.Event(), threading.Event()
    read_digit = ImageDecoders.read_digit

    async def slow(*arguments):
        entered.set()
        await asyncio.to_thread(gate.wait, 120)
        return await read_digit(*arguments)

    monkeypatch.setattr(ImageDecoders, "read_digit", slow)
    client = limited_client(max_queue=1, predict_timeout=240)
    first = []
    thread = threading.Thread(
        target=lambda: first.append(client.post("/predict", content=photo).status_code)
    )
    thread.start()
    assert entered.wait(120)
    answer = client.post("/predict", content=photo)
    gate.set()
    thread.join()
    assert (answer.status_code, answer.json()["code"]) == (429, "busy")
    assert int(answer.headers["retry-after"]) >= 1
    assert first == [200]


def test_a_missed_deadline_is_a_504(limited_client, photo):
    answer = limited_client(predict_timeout=1e-6).post("/predict", content=photo)
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")


@pytest.fixture(scope="module")
def closed_client(tmp_path_factory):
    settings = settings_in(tmp_path_factory.mktemp("closed")).model_copy(update={"auth": "predict"})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/train"),
        ("GET", "/train"),
        ("GET", "/train/x"),
        ("GET", "/train/x/log"),
        ("POST", "/train/x/cancel"),
        ("GET", "/models"),
        ("GET", "/models/1"),
        ("POST", "/models"),
        ("DELETE", "/models/1"),
        ("GET", "/models/1/weights"),
        ("GET", "/models/1/errors"),
        ("PUT", "/models/current"),
        ("POST", "/models/rollback"),
    ],
)
def test_with_auth_predict_nothing_else_is_open(closed_client, method, path):
    answer = closed_client.request(method, path, content=b"{broken")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_with_auth_predict_predictions_and_health_are_open(closed_client, seven):
    assert closed_client.post("/predict", content=seven).json()["digit"] == 7
    assert closed_client.get("/health/live").status_code == 200
    assert closed_client.get("/health/ready").status_code == 200
