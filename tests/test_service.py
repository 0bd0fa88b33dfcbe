"""The service as people run it: `mynet serve` in a process of its own, spoken to over HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.request import urlopen

import httpx2
import pytest
import torch

from app import checkpoint
from app.registry import SHIPPED, Registry
from tests.conftest import DATA, png

MYNET = Path(sys.executable).with_name("mynet")
START = 60


class Service:
    """A running service: its process, where it listens, and what it logged."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log
        self.port = self._await_port()

    def _await_port(self) -> int:
        until = time.monotonic() + START
        while time.monotonic() < until and self.process.poll() is None:
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", self.log.read_text()):
                return int(found[1])
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def get(self, path):
        with urlopen(f"http://127.0.0.1:{self.port}{path}") as answer:
            return json.load(answer)

    def post(self, path, body=b""):
        with closing(HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request("POST", path, body)
            return json.load(connection.getresponse())

    def training_is_gone(self):
        """Wait for the processes that this service started to be gone."""
        pids = re.findall(r"runs as process (\d+)", self.log.read_text())
        assert pids
        until = time.monotonic() + 20
        while time.monotonic() < until:
            command = ["ps", "-o", "stat=", "-p", ",".join(pids)]
            states = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            if all(state.startswith("Z") for state in states.split()):
                return True
            time.sleep(0.1)
        return False

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def serving(state: Path, **settings: str) -> Iterator[Service]:
    environment = {f"MYNET_{name.upper()}": str(value) for name, value in settings.items()}
    log = state.with_suffix(".log")
    command = [MYNET, "serve"]
    given = {"MYNET_PORT": "0", "MYNET_STATE_DIR": str(state), "MYNET_DATA_DIR": str(DATA)}
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, env={**os.environ, **given, **environment}, stderr=file, stdout=file, text=True
        ) as process,
    ):
        try:
            yield Service(process, log)
        finally:
            process.kill()


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
        parts = [uploads[at : at + quarter] for at in range(0, len(uploads), quarter)]
        return [digit for digits in pool.map(read, parts) for digit in digits]


def in_batches(port, uploads):
    """Read the digits through `/predict/batch`, 250 at a time."""
    digits = []
    for at in range(0, len(uploads), 250):
        files = [("files", (f"{n}.png", each)) for n, each in enumerate(uploads[at : at + 250])]
        answer = httpx2.post(f"http://127.0.0.1:{port}/predict/batch", files=files, timeout=60)
        digits += [each["digit"] for each in answer.json()["predictions"]]
    return digits


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service") / "var") as service:
        yield service


@pytest.mark.parametrize("inverted", [False, True])
def test_mnist_over_http_reads_as_well_as_on_tensors(service, mnist, inverted):
    expected = checkpoint.read_card(SHIPPED / "documented.safetensors").test_accuracy
    pixels = 255 - mnist.test.pixels if inverted else mnist.test.pixels
    uploads = [png(image.numpy()) for image in pixels]
    digits = in_batches(service.port, uploads)
    right = torch.tensor(digits) == mnist.test.labels
    assert right.float().mean().item() == pytest.approx(expected, abs=0.001)
    assert one_by_one(service.port, uploads[:2000]) == digits[:2000]


def test_the_log_is_one_line_an_event_with_request_ids(service):
    service.post("/predict", b"no image")
    lines = service.log.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ \S+ [\w.]+: ", line) for line in lines)
    assert any(
        re.search(r"INFO [0-9a-f]{16} app\.access: POST /predict 415 ", each) for each in lines
    )
    assert "MYNET_PORT=0" in lines[0]


def test_a_torch_checkpoint_goes_live_at_start(tmp_path):
    weights = checkpoint.read_weights(SHIPPED / "documented.safetensors")
    weights["fc4.bias"] += torch.linspace(0, 1e-3, 10)
    torch.save(weights, tmp_path / "tutorial.pt")
    with serving(tmp_path / "var", checkpoint=tmp_path / "tutorial.pt") as service:
        models = service.get("/models")
        assert models["current"] == service.get("/health/ready")["version"] == 2
        card = models["data"][1]
        assert (card["origin"], card["note"]) == ("checkpoint", "loaded from tutorial.pt")
        assert card["test_accuracy"] > 0.97
    with serving(tmp_path / "var", checkpoint=tmp_path / "tutorial.pt") as again:
        assert len(again.get("/models")["data"]) == 2
        assert again.get("/models")["current"] == 2


def test_sigterm_answers_what_is_under_way_and_queues_the_job_again(tmp_path):
    with serving(tmp_path / "var") as service:
        job = service.post("/train", b'{"epochs": 1000, "promote": "never"}')["id"]
        followed = []

        def follow():
            with urlopen(f"http://127.0.0.1:{service.port}/train/{job}/log?follow=true") as log:
                followed.extend(log)

        follower = threading.Thread(target=follow)
        follower.start()
        while not service.get(f"/train/{job}")["progress"]:
            time.sleep(0.1)
        assert service.end() == -signal.SIGTERM
        follower.join(10)
        assert not follower.is_alive(), "a followed log ends when the service ends"
        assert followed[0].startswith(b"==>>> epoch: 0, batch index: 100, train loss: ")
        assert "Application shutdown complete" in service.log.read_text()
    assert service.training_is_gone()


def test_a_job_survives_kill_9_of_the_server_and_goes_on(tmp_path):
    with serving(tmp_path / "var") as service:
        job = service.post("/train", b'{"epochs": 2, "seed": 9, "promote": "always"}')["id"]
        while not service.get(f"/train/{job}")["epochs"]:
            time.sleep(0.1)
        before = service.get(f"/train/{job}")["epochs"]
        service.end(signal.SIGKILL)
    assert service.training_is_gone(), "the training process ends with its supervisor"
    with serving(tmp_path / "var") as service:
        while (done := service.get(f"/train/{job}"))["status"] in ("queued", "running"):
            time.sleep(0.1)
        assert (done["status"], done["attempt"]) == ("succeeded", 2)
        assert done["epochs"][: len(before)] == before, "what was shown stays"
        assert [epoch["epoch"] for epoch in done["epochs"]] == [0, 1]
        assert service.get("/models")["current"] == done["result"]["version"] == 2
    assert Registry(tmp_path / "var" / "models").current() == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prot": "1"}, "MYNET_PROT is not a setting. Did you mean MYNET_PORT?"),
        ({"host": "0.0.0.0"}, "MYNET_AUTH=predict"),
        ({"checkpoint": "missing.pt"}, "missing.pt cannot be read"),
        ({"device": "cuda:99"}, "There is no device 'cuda:99'"),
    ],
)
def test_a_bad_setting_stops_the_start_in_words(tmp_path, settings, said):
    environment = {f"MYNET_{name.upper()}": value for name, value in settings.items()}
    state = {"MYNET_STATE_DIR": str(tmp_path / "var"), "COLUMNS": "500"}
    done = subprocess.run(
        [MYNET, "serve"],
        env={**os.environ, **state, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
