"""Schemathesis asks every operation of the OpenAPI document, with all of its checks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.api.examples import EPOCH, RESULT
from app.main import create_app
from app.train import job as jobs
from app.train.job import Status
from app.train.supervisor import Supervisor
from tests.served import served

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIG = Path(__file__).with_name("schemathesis.toml")
KEY = "the-first-key-of-all"
MOST = 100
PHASES = ("Examples", "Coverage", "Fuzzing", "Stateful")


def succeed_at_once(supervisor: Supervisor) -> None:
    """Let jobs live as they do, but for the training, which would take all of the cores."""
    for job in supervisor.store.jobs(Status.QUEUED, None, MOST):
        attempt = jobs.start(supervisor.store, job)
        told = {"epoch": 0, "batch": 100, "loss": 1.97}
        jobs.record(supervisor.store, job.id, attempt, "batch", told, progress=None)
        jobs.record(supervisor.store, job.id, attempt, "epoch", EPOCH.model_dump(), progress=None)
        jobs.succeed(supervisor.store, job.id, attempt, RESULT.model_dump())


@pytest.fixture
def url(settings, monkeypatch):
    """A service on a port of its own, in this process, which wants a key."""
    monkeypatch.setattr(Supervisor, "_step", succeed_at_once)
    changes = {"auth": "keys", "admin_key": SecretStr(KEY)}
    with served(create_app(settings.model_copy(update=changes))) as client:
        yield str(client.base_url)


def test_schemathesis_finds_nothing(url, tmp_path):
    command = [SCHEMATHESIS, "--config-file", CONFIG, "run", f"{url}/openapi.json"]
    done = subprocess.run(
        [*command, "--checks", "all", "--continue-on-failure", "--no-color"],
        cwd=tmp_path,
        env={**os.environ, "KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{phase} (in" in done.stdout for phase in PHASES)
