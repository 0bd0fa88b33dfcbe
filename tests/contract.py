"""Schemathesis against a service in this process: every operation of the OpenAPI document.

Two suites run it: `make test` with the examples of the document alone, and `make test-conformance`
with all phases, which takes half a minute.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.api.openapi.examples import EPOCH, RESULT
from app.config.settings import Settings
from app.main import create_app
from app.train.jobs import job as jobs
from app.train.jobs.fenced_writer import FencedWriter
from app.train.jobs.job import Status
from app.train.supervisor.supervisor import Supervisor
from tests.served import serve_app

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIG = Path(__file__).with_name("schemathesis.toml")
KEY = "the-first-key-of-all"
MAX_JOBS = 100
PHASES = ("examples", "coverage", "fuzzing", "stateful")


def succeed_at_once(supervisor: Supervisor) -> None:
    """Replace the training, which would take all cores; jobs live as they do."""
    for job in supervisor.job_store.jobs(Status.QUEUED, None, MAX_JOBS):
        attempt = jobs.start(supervisor.job_store, job)
        batch = {"epoch": 0, "batch": 100, "loss": 1.97}
        FencedWriter(supervisor.job_store, job.id, attempt).record("batch", batch, progress=None)
        FencedWriter(supervisor.job_store, job.id, attempt).record(
            "epoch", EPOCH.model_dump(), progress=None
        )
        FencedWriter(supervisor.job_store, job.id, attempt).succeed(RESULT.model_dump())


@contextmanager
def contract_service(settings: Settings) -> Iterator[str]:
    """Serve the app on a port of its own, with keys wanted, and yield its URL."""
    changes = {"auth": "keys", "admin_key": SecretStr(KEY), "predict_timeout": 120.0}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Supervisor, "_schedule", succeed_at_once)
        with serve_app(create_app(settings.model_copy(update=changes))) as client:
            yield str(client.base_url)


def run_schemathesis(url: str, folder: Path, *phases: str) -> None:
    """Run these phases with all checks. Raises AssertionError if a check fails, or a phase lacks.

    `folder` is where Schemathesis may leave files.
    """
    command = [SCHEMATHESIS, "--config-file", CONFIG, "run", f"{url}/openapi.json"]
    command += ["--phases", ",".join(phases), "--checks", "all"]
    done = subprocess.run(
        [*command, "--continue-on-failure", "--no-color"],
        cwd=folder,
        env={**os.environ, "KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran = [phase for phase in PHASES if f"{phase.capitalize()} (in" in done.stdout]
    assert ran == list(phases), done.stdout
