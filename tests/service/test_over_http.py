"""The service over HTTP: `mynet serve` in a process of its own, and real clients."""

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import httpx2
import pytest
import torch

from app.versions import checkpoint
from app.versions.registry import SHIPPED
from tests.conftest import png
from tests.service.running import ANSWER_TIMEOUT


def one_by_one(port, uploads):
    """Read the digits through `/predict`, over a few kept connections."""

    def read(part):
        digits = []
        with closing(HTTPConnection("127.0.0.1", port)) as connection:
            for upload in part:
                connection.request("POST", "/predict", upload, {"Content-Type": "image/png"})
                answer = connection.getresponse()
                assert answer.status == 200
                digits.append(json.load(answer)["digit"])
        return digits

    with ThreadPoolExecutor(4) as pool:
        quarter = len(uploads) // 4
        parts = [uploads[start : start + quarter] for start in range(0, len(uploads), quarter)]
        return [digit for digits in pool.map(read, parts) for digit in digits]


def in_batches(port, uploads):
    """Read the digits through `/predict/batch`, 250 at a time."""
    digits = []
    for start in range(0, len(uploads), 250):
        files = [
            ("files", (f"{n}.png", upload)) for n, upload in enumerate(uploads[start : start + 250])
        ]
        answer = httpx2.post(
            f"http://127.0.0.1:{port}/predict/batch", files=files, timeout=ANSWER_TIMEOUT
        )
        digits += [prediction["digit"] for prediction in answer.json()["predictions"]]
    return digits


@pytest.mark.parametrize("inverted", [False, True])
def test_mnist_over_http_reads_as_well_as_on_tensors(service, mnist, inverted):
    expected = max(
        checkpoint.read_card(path).test_accuracy for path in SHIPPED.glob("*.safetensors")
    )
    pixels = 255 - mnist.test.pixels if inverted else mnist.test.pixels
    uploads = [png(image.numpy()) for image in pixels]
    digits = in_batches(service.port, uploads)
    correct = torch.tensor(digits) == mnist.test.labels
    assert correct.float().mean().item() == pytest.approx(expected, abs=0.001)
    assert one_by_one(service.port, uploads[:2000]) == digits[:2000]


def test_the_log_is_one_line_an_event_with_request_ids(service):
    service.post("/predict", b"no image")
    pattern = r"INFO [0-9a-f]{16} app\.access: POST /predict 415 "
    deadline = time.monotonic() + 120
    while not re.search(pattern, service.log.read_text()):  # it is logged after it is answered
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first, *lines = service.log.read_text().splitlines()
    assert first.endswith(f": open http://127.0.0.1:{service.port}")
    log_lines = [line for line in lines if not line.startswith("  ")]  # not what was announced
    pattern = r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ \S+ [\w.]+: "
    assert all(re.match(pattern, line) for line in log_lines)


def test_an_offer_to_upgrade_is_passed_over(service, mnist):
    upload = png(mnist.test.pixels[0].numpy())
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": ""}
    answer = httpx2.post(
        f"http://127.0.0.1:{service.port}/predict",
        content=upload,
        headers=offer,
        timeout=ANSWER_TIMEOUT,
    )
    assert (answer.status_code, answer.json()["digit"]) == (200, 7)


def test_a_client_that_leaves_is_no_defect(service):
    with socket.create_connection(("127.0.0.1", service.port)) as leaving:
        leaving.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"
        )
    deadline = time.monotonic() + 120
    while "POST /predict 499" not in service.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "Traceback" not in service.log.read_text()
