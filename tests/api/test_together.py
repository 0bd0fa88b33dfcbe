"""Many uploads that are under way at once: together they take only so much memory."""

from contextlib import ExitStack

import numpy as np
import pytest

from app.api.middleware import TOGETHER, UNCOUNTED
from app.main import create_app
from tests.conftest import png
from tests.served import connected, served
from tests.service.running import comes_true

LARGEST = 256 * 1024
SENT = LARGEST - 1024
HEAD = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
FULL = TOGETHER * LARGEST // (SENT - UNCOUNTED)


@pytest.fixture
def client(settings):
    with served(create_app(settings.model_copy(update={"max_body_bytes": LARGEST}))) as client:
        yield client


@pytest.fixture
def photo():
    noise = np.random.default_rng(5).integers(0, 256, (480, 520), np.uint8)
    photo = png(noise)
    assert SENT - UNCOUNTED > len(photo) - UNCOUNTED > LARGEST // 2
    return photo


def is_busy(answer):
    return (answer.status_code, answer.json().get("code")) == (429, "busy")


@pytest.mark.parametrize("path", [b"/predict", b"/models", b"/train"])
def test_what_is_sent_for_hours_is_held_only_so_far(client, photo, seven, path):
    assert client.post("/predict", content=photo).status_code != 429
    with ExitStack() as stack:
        for _ in range(FULL):
            sender = stack.enter_context(connected(client))
            sender.sendall(HEAD % (path, LARGEST) + bytes(SENT))
        assert comes_true(lambda: is_busy(client.post("/predict", content=photo)))
        refused = client.post("/predict", content=photo)
        assert int(refused.headers["Retry-After"]) >= 1
        assert client.post("/predict", content=seven).json()["digit"] == 7
    assert comes_true(lambda: not is_busy(client.post("/predict", content=photo)))
