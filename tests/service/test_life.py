"""The life of a service: how it starts, ends, is killed, and goes on."""

import os
import signal
import subprocess
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli.main import app
from app.versions import checkpoint
from app.versions.pt_export import to_pt
from app.versions.registry import SHIPPED
from tests.service.running import MYNET, run_service
from tests.service.test_keys import BEYOND_LOOPBACK

NEXT_VERSION = len(list(SHIPPED.glob("*.safetensors"))) + 1


def test_two_workers_train_once_answer_with_the_same_version_and_end_with_their_parent(tmp_path):
    with run_service(tmp_path / "var", workers=2) as service:
        request_body = b'{"epochs": 1, "batch_size": 60000, "promote": "always"}'
        job = service.post("/train", request_body)["id"]
        done = service.job_until(job, lambda body: body["status"] == "succeeded")
        assert done["attempt"] == 1
        deadline = time.monotonic() + 120
        while {service.get("/health/ready")["version"] for _ in range(20)} != {NEXT_VERSION}:
            assert time.monotonic() < deadline
        assert len(service.trainings) == 1
        service.end(signal.SIGKILL)
        deadline = time.monotonic() + 120
        while service.is_ready():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert service.training_is_gone()


def test_a_checkpoint_goes_live_once_and_a_killed_upload_leaves_nothing(tmp_path):
    """The service is killed in the middle of an upload, and started again as it was."""
    weights = checkpoint.read_weights(SHIPPED / "documented.safetensors")
    weights["fc4.bias"] += np.linspace(0, 1e-3, 10, dtype=np.float32)
    (tmp_path / "tutorial.pt").write_bytes(to_pt(weights))
    uploaded = (SHIPPED / "documented.safetensors").read_bytes()
    uploads = tmp_path / "var" / "uploads"

    def upload():
        with suppress(OSError):
            service.post("/models", uploaded)

    with run_service(tmp_path / "var", checkpoint=tmp_path / "tutorial.pt") as service:
        models = service.get("/models")
        assert models["current"] == service.get("/health/ready")["version"] == NEXT_VERSION
        card = models["data"][NEXT_VERSION - 1]
        assert (card["origin"], card["note"]) == ("checkpoint", "loaded from tutorial.pt")
        assert card["test_accuracy"] > 0.97
        client = threading.Thread(target=upload)
        client.start()
        deadline = time.monotonic() + 120
        while not list(uploads.glob(".*.tmp")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        service.end(signal.SIGKILL)
        client.join(120)
    with run_service(tmp_path / "var", checkpoint=tmp_path / "tutorial.pt") as restarted:
        assert not list(uploads.glob(".*.tmp"))
        assert len(restarted.get("/models")["data"]) == NEXT_VERSION
        assert restarted.get("/models")["current"] == NEXT_VERSION
        assert restarted.post("/models", uploaded)["version"] == NEXT_VERSION + 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prot": "1"}, "MYNET_PROT is not a setting. Did you mean MYNET_PORT?"),
        ({"database_url": "nonsense"}, "MYNET_DATABASE_URL cannot be used"),
    ],
)
def test_a_bad_setting_stops_the_process_in_words(tmp_path, settings, message):
    """One that the settings refuse, and one that the start refuses."""
    environment = environment_of(tmp_path, settings)
    done = subprocess.run(
        [MYNET, "serve"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def environment_of(folder, settings):
    all_settings = {"state_dir": str(folder / "var"), "port": "0", **settings}
    return {"COLUMNS": "500"} | {
        f"MYNET_{name.upper()}": value for name, value in all_settings.items()
    }


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        ({"host": "0.0.0.0"}, BEYOND_LOOPBACK),
        ({"checkpoint": "missing.pt"}, ["MYNET_CHECKPOINT: missing.pt cannot be read"]),
        ({"device": "cuda:99"}, ["MYNET_DEVICE: The device 'cuda:99' does not exist"]),
        (
            {"host": "192.0.2.1", "auth": "none"},
            ["cannot listen on MYNET_HOST=192.0.2.1, MYNET_PORT=0"],
        ),
        ({"state_dir": "/dev/null/x"}, ["MYNET_STATE_DIR=/dev/null/x cannot be used"]),
    ],
)
def test_a_bad_setting_stops_the_start_in_words(tmp_path, monkeypatch, settings, messages):
    """The same command, in the process of the test."""
    for name, value in environment_of(tmp_path, settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("app.telemetry.logs.configure", lambda *_: None)  # the logs of the tests
    done = CliRunner().invoke(app, ["serve"])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 2
    assert [part for part in messages if part not in done.stderr] == []
