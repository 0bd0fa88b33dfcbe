"""The app on servers that are not MyNet's own, and mounted in another app."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.main import create_app
from tests.conftest import DATA, settings_in
from tests.service.running import free_port, wait_until

SERVERS = {
    # Its own time-out for a worker that starts is half a minute.
    "gunicorn": "gunicorn -t 300 -k uvicorn_worker.UvicornWorker -b 127.0.0.1:{port} -w {workers} "
    "app.main:create_app()",
    "hypercorn": "hypercorn -b 127.0.0.1:{port} -w {workers} app.main:create_app()",
    "granian": "granian --interface asgi --port {port} --workers {workers} "
    "--factory app.main:create_app",
}
# hypercorn starts a process of its own even for one worker.
ONE_PROCESS = {"gunicorn": 1, "hypercorn": 0, "granian": 1}
PREDICTIONS = re.compile(
    r'^mynet_http_requests_total\{.*route="/predict".*\} ([\d.]+)$', re.MULTILINE
)
GLOBALS = """
import logging
import app.main
names = ["logProcesses", "logThreads", "logMultiprocessing", "_srcfile"]
def state():
    root = logging.getLogger()
    return [getattr(logging, name) for name in names], root.handlers[:], root.level
before = state()
app.main.create_app()
assert state() == before and all(before[0]), (before, state())
logging.getLogger("app.x").info("a line")
"""


def test_create_app_changes_no_global_logging_and_logs_to_standard_error(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", GLOBALS],
        env={**os.environ, "MYNET_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.rstrip().endswith("INFO - app.x: a line")


def test_mounted_app_without_lifespan_says_what_is_missing(tmp_path):
    parent = FastAPI()
    parent.mount("/digits", create_app(settings_in(tmp_path)))
    with TestClient(parent) as client:
        answer = client.get("/digits/health/ready")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert "lifespan of this app has not run" in answer.json()["detail"]


@contextmanager
def serving(name, folder, workers):
    pytest.importorskip({"gunicorn": "uvicorn_worker"}.get(name, name), reason="an extra")
    port, log = free_port(), folder / "log"
    environment = {"MYNET_STATE_DIR": str(folder / "var"), "MYNET_DATA_DIR": str(DATA)}
    environment |= {"MYNET_PREDICT_TIMEOUT": "60", "MYNET_TRAIN_STANDBY": "false"}
    arguments = SERVERS[name].format(port=port, workers=workers).split()
    with (
        log.open("w") as file,
        subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**os.environ, **environment},
            stdout=file,
            stderr=file,
        ) as process,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
    ):
        try:
            assert wait_until(lambda: is_ready(client)), log.read_text()
            yield client, process
        finally:
            process.terminate()
            assert process.wait(120) in (0, -signal.SIGTERM), log.read_text()


def is_ready(client):
    try:
        return client.get("/health/ready").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize("name", SERVERS)
def test_another_server_predicts_trains_and_stops(tmp_path, seven, name):
    with serving(name, tmp_path, ONE_PROCESS[name]) as (client, _):
        answer = client.post("/predict", content=seven)
        assert answer.json()["digit"] == 7
        assert answer.headers["x-request-id"]
        metrics = client.get("/metrics").text
        assert metrics.startswith("# Of process ")
        assert "mynet_http_requests_total" in metrics
        job = client.post("/train", json={"epochs": 1000, "promote": "never"}).json()["id"]
        assert wait_until(lambda: client.get(f"/train/{job}").json()["status"] == "running")


@pytest.mark.parametrize("name", SERVERS)
def test_metrics_of_two_workers_are_those_of_the_one_that_answers(tmp_path, seven, name):
    with serving(name, tmp_path, 2) as (client, _):
        fresh = {"Connection": "close"}  # so that either worker may answer
        for _ in range(20):
            assert client.post("/predict", content=seven, headers=fresh).status_code == 200
        counts = {}

        def both_have_answered():
            text = client.get("/metrics", headers=fresh).text
            pid = re.match(r"# Of process (\d+) alone: this server counts each", text)[1]
            counts[pid] = sum(map(float, PREDICTIONS.findall(text)))
            return len(counts) == 2

        assert wait_until(both_have_answered)
        assert sum(counts.values()) == 20, "each counts its own requests alone"
