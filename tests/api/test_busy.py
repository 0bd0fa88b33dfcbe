"""While the queue is full, refusals come before bodies are read; and not after it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.api.routes.predict_fast_path import PredictFastPath
from app.main import create_app
from app.predict.image_decoders import ImageDecoders
from tests.conftest import png
from tests.served import serve_app

KEY = "0123456789abcdef"


class Gate:
    """Holds up every photo until it is opened."""

    def __init__(self):
        self.reached, self.open = threading.Event(), threading.Event()

    def hold(self):
        self.reached.set()
        self.open.wait(120)


@pytest.fixture
def gate(monkeypatch):
    gate, read_digit = Gate(), ImageDecoders.read_digit

    async def read_later(*arguments):
        await asyncio.to_thread(gate.hold)
        return await read_digit(*arguments)

    monkeypatch.setattr(ImageDecoders, "read_digit", read_later)
    yield gate
    gate.open.set()


@pytest.fixture
def photo(mnist):
    noise = np.random.default_rng(1).integers(0, 60, (560, 560), np.uint8)
    photo = np.maximum(np.kron(mnist.test.pixels[0].numpy(), np.ones((20, 20), np.uint8)), noise)
    upload = png(photo)
    assert len(upload) > 20 * 1024
    return upload


@pytest.fixture
def full_queue(settings, gate, photo):
    """Yield a client of a service whose queue is full, and what fills it."""
    changes = {"max_queue": 1, "predict_timeout": 240, "max_body_bytes": len(photo)}
    app = create_app(settings.model_copy(update=changes))
    with serve_app(app) as client, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(client.post, "/predict", content=photo)
        assert gate.reached.wait(120)
        yield client, waiting
        gate.open.set()


def test_small_and_large_uploads_are_refused_and_then_answered(full_queue, gate, photo, seven):
    client, waiting = full_queue
    uploads = {"/predict": seven, "/predict?explain=true": seven, "/predict?version=1": photo}
    for path, content in [*uploads.items(), ("/predict", photo)]:
        answer = client.post(path, content=content)
        assert (answer.status_code, answer.json()["code"]) == (429, "busy")
        assert int(answer.headers["retry-after"]) >= 1
    assert not waiting.done()
    gate.open.set()
    assert waiting.result().json()["digit"] == 7
    for path, content in [*uploads.items(), ("/predict", photo)]:
        assert client.post(path, content=content).json()["digit"] == 7


def test_what_is_refused_is_not_read(full_queue, photo, monkeypatch):
    client, _ = full_queue
    monkeypatch.setattr("app.api.request_body.read_image", lambda _: pytest.fail("it was read"))
    bodies, reject = [], PredictFastPath._reject

    def recording_reject(self, overload, cycle):
        bodies.append(cycle.body)
        return reject(self, overload, cycle)

    monkeypatch.setattr(PredictFastPath, "_reject", recording_reject)
    assert client.post("/predict", content=photo).status_code == 429
    counts = client.get("/health/ready").json()["images"]
    assert client.post("/predict?explain=true", content=photo).status_code == 429
    assert bodies == [b"", b""], "it was collected in memory"
    assert client.get("/health/ready").json()["images"]["busy"] == counts["busy"] + 1


def test_what_is_too_large_for_any_queue_is_still_told_so(full_queue, photo):
    client, _ = full_queue
    assert client.post("/predict", content=photo + b"x").status_code == 413


def test_what_is_not_a_prediction_is_answered(full_queue, seven):
    client, _ = full_queue
    assert client.get("/health/live").status_code == 200
    assert client.post("/predictions?a=b", content=seven).status_code == 404


def test_who_may_not_ask_is_told_so_first(settings, gate, photo):
    changes = {"max_queue": 1, "auth": "keys", "admin_key": KEY, "predict_timeout": 240}
    changed = type(settings)(**{**settings.model_dump(), **changes})
    key_header = {"x-api-key": KEY}
    with serve_app(create_app(changed)) as client, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(client.post, "/predict", content=photo, headers=key_header)
        assert gate.reached.wait(120)
        assert client.post("/predict", content=photo).status_code == 401
        assert client.post("/predict", content=photo, headers=key_header).status_code == 429
        gate.open.set()
        assert waiting.result().json()["digit"] == 7
