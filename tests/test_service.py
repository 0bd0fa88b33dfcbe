"""The service as people run it: `mynet serve` in a process of its own, spoken to over HTTP."""

import json
import os
import re
import signal
import socket
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
from app.store import Store
from tests.conftest import DATA, png

MYNET = Path(sys.executable).with_name("mynet")
START = 60


class Service:
    """A running service: its process, where it listens, and what it logged."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        until = time.monotonic() + START
        while not self.is_ready():
            assert time.monotonic() < until, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)

    def is_ready(self):
        try:
            return self.get("/health/ready")
        except OSError:
            return False

    def get(self, path):
        with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return json.load(answer)

    def job_until(self, job, condition):
        """Wait for a job to be as `condition` says; it must not fail meanwhile."""
        until = time.monotonic() + 120
        while not condition(body := self.get(f"/train/{job}")):
            assert body["status"] not in ("failed", "cancelled"), body
            assert time.monotonic() < until, body
            time.sleep(0.1)
        return body

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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {"MYNET_PORT": str(port), "MYNET_STATE_DIR": str(state), "MYNET_DATA_DIR": str(DATA)}
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, env={**os.environ, **given, **environment}, stderr=file, stdout=file, text=True
        ) as process,
    ):
        try:
            yield Service(process, port, log)
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
    assert f"MYNET_PORT={service.port}" in lines[0]


def test_two_workers_answer_with_one_version_and_train_one_job_at_a_time(tmp_path):
    with serving(tmp_path / "var", workers=2) as service:
        jobs = [service.post("/train", b'{"epochs": 1, "promote": "always"}')["id"] for _ in "ab"]
        until = time.monotonic() + 120
        while service.get(f"/train/{jobs[1]}")["status"] != "succeeded":
            running = service.get("/train?status=running")["data"]
            assert len(running) <= 1
            assert time.monotonic() < until
            time.sleep(0.1)
        assert [service.get(f"/train/{job}")["attempt"] for job in jobs] == [1, 1]
        version = service.get(f"/train/{jobs[1]}")["result"]["version"]
        while {service.get("/health/ready")["version"] for _ in range(20)} != {version}:
            assert time.monotonic() < until
        service.end()
    assert service.training_is_gone()


def test_workers_end_with_their_parent(tmp_path):
    with serving(tmp_path / "var", workers=2) as service:
        service.end(signal.SIGKILL)
        until = time.monotonic() + 20
        while service.is_ready():
            assert time.monotonic() < until
            time.sleep(0.1)


def test_an_offer_to_upgrade_is_passed_over(service, mnist):
    upload = png(mnist.test.pixels[0].numpy())
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": ""}
    answer = httpx2.post(f"http://127.0.0.1:{service.port}/predict", content=upload, headers=offer)
    assert (answer.status_code, answer.json()["digit"]) == (200, 7)


def test_a_client_that_leaves_is_no_defect(service):
    with socket.create_connection(("127.0.0.1", service.port)) as leaving:
        leaving.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    until = time.monotonic() + 20
    while "POST /predict 499" not in service.log.read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert "Traceback" not in service.log.read_text()


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
        service.job_until(job, lambda body: body["progress"])
        assert service.end() == -signal.SIGTERM
        follower.join(10)
        assert not follower.is_alive(), "a followed log ends when the service ends"
        assert followed[0].startswith(b"==>>> epoch: 0, batch index: 100, train loss: ")
        assert "Application shutdown complete" in service.log.read_text()
    assert service.training_is_gone()
    with closing(Store(f"sqlite:///{tmp_path / 'var' / 'mynet.db'}")) as store:
        assert (store.job(job).status, store.job(job).deaths) == ("queued", 0)


def test_a_job_survives_kill_9_of_the_server_and_goes_on(tmp_path):
    with serving(tmp_path / "var") as service:
        job = service.post("/train", b'{"epochs": 2, "seed": 9, "promote": "always"}')["id"]
        before = service.job_until(job, lambda body: body["epochs"])["epochs"]
        service.end(signal.SIGKILL)
    assert service.training_is_gone(), "the training process ends with its supervisor"
    with serving(tmp_path / "var") as service:
        done = service.job_until(job, lambda body: body["status"] == "succeeded")
        assert done["attempt"] == 2
        assert done["epochs"][: len(before)] == before, "what was shown stays"
        assert [epoch["epoch"] for epoch in done["epochs"]] == [0, 1]
        assert service.get("/models")["current"] == done["result"]["version"] == 2
    assert Registry(tmp_path / "var" / "models").current() == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prot": "1"}, "MYNET_PROT is not a setting. Did you mean MYNET_PORT?"),
        ({"host": "0.0.0.0"}, "MYNET_AUTH=predict"),
        ({"checkpoint": "missing.pt"}, "MYNET_CHECKPOINT: missing.pt cannot be read"),
        ({"device": "cuda:99"}, "MYNET_DEVICE: There is no device 'cuda:99'"),
        ({"host": "192.0.2.1", "auth": "none"}, "MYNET_HOST=192.0.2.1, MYNET_PORT=0 cannot be"),
        ({"state_dir": "/dev/null/x"}, "MYNET_STATE_DIR=/dev/null/x cannot be used"),
        ({"database_url": "nonsense"}, "MYNET_DATABASE_URL cannot be used"),
    ],
)
def test_a_bad_setting_stops_the_start_in_words(tmp_path, settings, said):
    environment = {f"MYNET_{name.upper()}": value for name, value in settings.items()}
    state = {"MYNET_STATE_DIR": str(tmp_path / "var"), "MYNET_PORT": "0", "COLUMNS": "500"}
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
