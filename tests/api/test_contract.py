"""Schemathesis asks every operation of the OpenAPI document, with all of its checks."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import uvicorn

from app.api.examples import EPOCH, RESULT
from app.main import create_app
from app.protocol import Protocol
from app.train import job as jobs
from app.train.job import Status
from app.train.supervisor import Supervisor

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIG = Path(__file__).with_name("schemathesis.toml")
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
    """A service on a port of its own, in this process."""
    monkeypatch.setattr(Supervisor, "_step", succeed_at_once)
    config = uvicorn.Config(
        create_app(settings), port=0, http=Protocol, loop="asyncio", ws="none", log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    (listening,) = server.servers[0].sockets
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_schemathesis_finds_nothing(url, tmp_path):
    command = [SCHEMATHESIS, "--config-file", CONFIG, "run", f"{url}/openapi.json"]
    done = subprocess.run(
        [*command, "--checks", "all", "--continue-on-failure", "--no-color"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{phase} (in" in done.stdout for phase in PHASES)
