"""MLflow tracking of jobs: after kills, without tracking for comparison, and without a server."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys

import pytest

from app.train.supervisor.mlflow_process import DEFAULTS
from tests.service.running import TRAINING_TIMEOUT, run_service, wait_until
from tests.service.test_jobs import SMALL_BATCH

mlflow = pytest.importorskip("mlflow", reason="an extra, which `make test-service` installs")

REQUEST_BODY = json.dumps({**SMALL_BATCH, "epochs": 12, "promote": "never"}).encode()
# A database has its tables made by many small steps, and the process gives way.
TRACKING_TIMEOUT = TRAINING_TIMEOUT


def has_succeeded(body):
    return body["status"] == "succeeded"


def losses(job):
    return [(epoch["epoch"], epoch["train_loss"]) for epoch in job["epochs"]]


def test_a_job_killed_with_its_service_goes_on_in_the_same_run(
    tmp_path, monkeypatch, small_data_dir
):
    state, settings = tmp_path / "var", {"data_dir": small_data_dir}
    with run_service(state, **settings) as service:
        untracked_job = service.job_until(service.post("/train", REQUEST_BODY)["id"], has_succeeded)
    for name, value in DEFAULTS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    with run_service(state, **settings) as service:
        job = service.post("/train", REQUEST_BODY)["id"]
        service.job_until(job, lambda body: body["epochs"])
        os.kill(service.trainings[-1], signal.SIGKILL)
        service.job_until(job, lambda body: body["attempt"] == 2)
        service.end(signal.SIGKILL)
    with run_service(state, **settings) as service:
        done = service.job_until(job, has_succeeded)
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name("mynet").experiment_id

        def runs():
            return client.search_runs([experiment], f"tags.`mynet.job` = '{job}'")

        assert wait_until(
            lambda: [run.info.status for run in runs()] == ["FINISHED"], TRACKING_TIMEOUT
        )
        digests = [
            service.get(f"/models/{job_body['result']['version']}")["weights_digest"]
            for job_body in (untracked_job, done)
        ]
        service.end()
    run_id = runs()[0].info.run_id
    points = client.get_metric_history(run_id, "train_loss")
    assert [(point.step, point.value) for point in points] == losses(done) == losses(untracked_job)
    assert digests[0] == digests[1], "tracking changes no weight"
    assert "card.json" in [file.path for file in client.list_artifacts(run_id)]


def test_a_server_that_is_away_fails_no_job_and_is_told_later(
    tmp_path, monkeypatch, small_data_dir
):
    with socket.socket() as closed_socket:  # bound, and not listening
        closed_socket.bind(("127.0.0.1", 0))
        monkeypatch.setenv(
            "MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{closed_socket.getsockname()[1]}"
        )
        with run_service(tmp_path / "var", data_dir=small_data_dir) as service:
            job = service.post("/train", REQUEST_BODY)["id"]
            service.job_until(job, has_succeeded)
            assert wait_until(
                lambda: "MLflow is unavailable" in service.log.read_text(), TRACKING_TIMEOUT
            )
            assert service.end() in (0, -signal.SIGTERM)
        logged = service.log.read_text()
        assert logged.count("MLflow is unavailable") == 1
        assert "secret" not in logged
    database = tmp_path / "mlflow.db"
    monkeypatch.chdir(tmp_path)  # MLflow's default for artifacts is ./mlruns
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    with run_service(tmp_path / "var", data_dir=small_data_dir) as service:
        assert wait_until(
            lambda: database.exists() and "FINISHED" in str(statuses(database)), TRACKING_TIMEOUT
        )
        service.end()
    assert statuses(database) == [("FINISHED", job)]
    assert not (tmp_path / "mlruns").exists()
    artifacts = {path.name for path in (tmp_path / "var" / "mlflow-artifacts").rglob("*.*")}
    assert "card.json" in artifacts


def statuses(database):
    with sqlite3.connect(database) as connection:
        try:
            return connection.execute("SELECT status, name FROM runs").fetchall()
        except sqlite3.OperationalError:  # its tables are not made yet
            return []


def test_the_server_itself_never_loads_it():
    imports = "import sys, app.main, app.server.server, app.cli.state_folder"
    code = f"{imports}; print('mlflow' in sys.modules)"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
