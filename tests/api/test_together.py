"""Many uploads that are under way at once: together they take only so much memory."""

from contextlib import ExitStack

import numpy as np
import pytest

from app.api.middleware import FREE_BYTES_PER_BODY, MAX_BUFFERED_BODIES
from app.main import create_app
from tests.conftest import png
from tests.served import open_socket, serve_app
from tests.service.running import wait_until

MAX_BODY_BYTES = 256 * 1024
UPLOAD_BYTES = MAX_BODY_BYTES - 1024
HEAD = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
UPLOADS_TO_FILL = MAX_BUFFERED_BODIES * MAX_BODY_BYTES // (UPLOAD_BYTES - FREE_BYTES_PER_BODY)


@pytest.fixture
def client(settings):
    changes = {"max_body_bytes": MAX_BODY_BYTES}
    with serve_app(create_app(settings.model_copy(update=changes))) as client:
        yield client


@pytest.fixture
def photo():
    noise = np.random.default_rng(5).integers(0, 256, (480, 520), np.uint8)
    photo = png(noise)
    assert (
        UPLOAD_BYTES - FREE_BYTES_PER_BODY > len(photo) - FREE_BYTES_PER_BODY > MAX_BODY_BYTES // 2
    )
    return photo


def is_too_much(answer):
    body = answer.json()
    return (answer.status_code, body.get("code")) == (429, "busy") and "large uploads" in body[
        "detail"
    ]


@pytest.mark.parametrize("path", [b"/predict", b"/models", b"/train"])
def test_what_is_sent_for_hours_is_held_only_so_far(client, photo, seven, path):
    assert not is_too_much(client.post("/predict", content=photo))
    answers = []
    with ExitStack() as stack:

        def send_half():
            sender = stack.enter_context(open_socket(client))
            sender.sendall(HEAD % (path, MAX_BODY_BYTES) + bytes(UPLOAD_BYTES))

        def is_refused():
            send_half()  # one of them may have been refused in place of the photo
            answers.append(client.post("/predict", content=photo))
            return is_too_much(answers[-1])

        for _ in range(UPLOADS_TO_FILL):
            send_half()
        assert wait_until(is_refused)
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert client.post("/predict", content=seven).json()["digit"] == 7
    assert wait_until(lambda: not is_too_much(client.post("/predict", content=photo)))


def test_first_64_kib_of_each_upload_are_free(client, photo):
    with ExitStack() as stack:
        for _ in range(MAX_BUFFERED_BODIES * MAX_BODY_BYTES // FREE_BYTES_PER_BODY + 5):
            sender = stack.enter_context(open_socket(client))
            sender.sendall(HEAD % (b"/models", MAX_BODY_BYTES) + bytes(FREE_BYTES_PER_BODY))
        assert not is_too_much(client.post("/predict", content=photo))
