"""The life of a service: how it starts, ends, is killed, and goes on."""

import os
import signal
import subprocess
import threading
import time
from contextlib import closing, suppress
from urllib.request import urlopen

import pytest
import torch

from app.database.store import Store
from app.versions import checkpoint
from app.versions.registry import SHIPPED, Registry
from tests.service.running import MYNET, serving

NEXT = len(list(SHIPPED.glob("*.safetensors"))) + 1


def test_two_workers_train_once_and_answer_with_the_same_version(tmp_path):
    with serving(tmp_path / "var", workers=2) as service:
        job = service.post("/train", b'{"epochs": 1, "promote": "always"}')["id"]
        done = service.job_until(job, lambda body: body["status"] == "succeeded")
        assert done["attempt"] == 1
        until = time.monotonic() + 20
        while {service.get("/health/ready")["version"] for _ in range(20)} != {NEXT}:
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


def test_a_torch_checkpoint_goes_live_at_start(tmp_path):
    weights = checkpoint.read_weights(SHIPPED / "documented.safetensors")
    weights["fc4.bias"] += torch.linspace(0, 1e-3, 10)
    torch.save(weights, tmp_path / "tutorial.pt")
    with serving(tmp_path / "var", checkpoint=tmp_path / "tutorial.pt") as service:
        models = service.get("/models")
        assert models["current"] == service.get("/health/ready")["version"] == NEXT
        card = models["data"][NEXT - 1]
        assert (card["origin"], card["note"]) == ("checkpoint", "loaded from tutorial.pt")
        assert card["test_accuracy"] > 0.97
    with serving(tmp_path / "var", checkpoint=tmp_path / "tutorial.pt") as again:
        assert len(again.get("/models")["data"]) == NEXT
        assert again.get("/models")["current"] == NEXT


def test_an_upload_whose_server_is_killed_leaves_nothing(tmp_path):
    weights = (SHIPPED / "documented.safetensors").read_bytes()
    uploads = tmp_path / "var" / "uploads"

    def upload():
        with suppress(OSError):
            service.post("/models", weights)

    with serving(tmp_path / "var") as service:
        client = threading.Thread(target=upload)
        client.start()
        until = time.monotonic() + 20
        while not list(uploads.glob(".*.tmp")):
            assert time.monotonic() < until
            time.sleep(0.02)
        service.end(signal.SIGKILL)
        client.join(10)
    with serving(tmp_path / "var") as again:
        assert not list(uploads.glob(".*.tmp"))
        assert again.post("/models", weights)["version"] == NEXT


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
        assert service.get("/models")["current"] == done["result"]["version"] == NEXT
    assert Registry(tmp_path / "var" / "models").current() == NEXT


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
