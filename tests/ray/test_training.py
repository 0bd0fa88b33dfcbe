"""Jobs as runs of Ray Train: they end as without Ray, also after kills."""

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise

from app.database.jobs import JobStore
from app.train.jobs.assignment import Assignment
from tests.conftest import ROOT
from tests.ray.rigs.cluster import TRAINING_ENTRY_POINT
from tests.ray.rigs.jobs import (
    HYPERPARAMETERS,
    LONG_JOB,
    TIMEOUT,
    environment,
    outcome,
    saved_position,
    start_job,
    wait_for_end,
    wait_for_job,
    wait_until_idle,
    workers,
)
from tests.service.running import wait_until


def test_a_worker_that_is_killed_changes_nothing(service, cluster, local):
    job = start_job(service, HYPERPARAMETERS)
    assert wait_until(lambda: saved_position(service.jobs, job) >= (2, 0), TIMEOUT)
    (worker,) = workers(cluster)
    os.kill(worker, signal.SIGKILL)
    positions = []

    def record_position(body):
        positions.append(saved_position(service.jobs, job))
        return body["finished_at"]

    wait_for_job(service, job, record_position)
    assert outcome(service, job) == local
    saved_positions = [position for position in positions if position != (0, 0)]
    assert all(before <= after for before, after in pairwise(saved_positions)), (
        "it never starts again"
    )
    body = service.get(f"/train/{job}")
    assert body["attempt"] == 1, "Ray Train went on"
    assert [epoch["epoch"] for epoch in body["epochs"]] == [*range(HYPERPARAMETERS["epochs"])]
    checkpoints = service.jobs / job
    assert wait_until(lambda: not checkpoints.exists()), "an ended job needs them no more"


def test_a_job_whose_state_is_damaged_during_a_pause_starts_again(service, cluster):
    """As another attempt, which is cancelled then."""
    job = start_job(service, LONG_JOB)
    wait_for_job(service, job, lambda body: body["epochs"])
    assert_no_gpu(cluster)
    service.post(f"/train/{job}/pause")
    paused = wait_for_job(service, job, lambda body: body["status"] == "paused")
    assert wait_until_idle(cluster)
    (service.jobs / job / "checkpoint_manager_snapshot.json").write_text("")
    service.post(f"/train/{job}/resume")
    restarted = wait_for_job(service, job, lambda body: len(body["epochs"]) > len(paused["epochs"]))
    assert restarted["attempt"] == paused["attempt"] + 1
    service.post(f"/train/{job}/cancel")
    assert service.get(f"/train/{job}")["status"] == "cancelled"
    assert wait_until_idle(cluster)


def assert_no_gpu(cluster):
    """Assert that neither the replica nor the worker sees a GPU: Ray gave them none.

    The training process, which inherits the environment, shows it for the replica.
    """
    (started,) = [pid for node in cluster.nodes for pid in node.running(TRAINING_ENTRY_POINT)]
    assert environment(started)["CUDA_VISIBLE_DEVICES"] == ""
    (worker,) = workers(cluster)
    assert environment(worker)["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] == "1"


def test_a_gpu_that_no_node_has_is_told_of(service):
    job = start_job(service, {**HYPERPARAMETERS, "device": "cuda"})
    error = wait_for_end(service, job, "failed")["error"]
    assert error["code"] == "bad_device"
    assert error["message"].startswith("No node of the Ray cluster has a GPU")


def test_a_sweep_trains_its_jobs_at_once(service):
    sweep_request = {
        **HYPERPARAMETERS,
        "epochs": 20,
        "learning_rate": [0.001, 0.03],
    }
    sweep = service.post("/sweeps", json.dumps(sweep_request).encode())["id"]
    assert wait_until(lambda: service.get(f"/sweeps/{sweep}")["finished_at"], TIMEOUT)
    body = service.get(f"/sweeps/{sweep}")
    assert body["status"] == "succeeded", body
    jobs = [service.get(f"/train/{job['id']}") for job in body["jobs"]]
    assert max(job["started_at"] for job in jobs) < min(job["finished_at"] for job in jobs)
    assert body["best"]["hyperparameters"] == {"learning_rate": 0.03}
    versions = [job["result"]["version"] for job in jobs]
    assert body["best"]["version"] in versions
    assert service.get("/models")["current"] not in versions, "a sweep promotes nothing"


def test_attempt_at_a_deleted_job_ends_in_order_without_a_cluster(settings, database):
    assignment = Assignment(settings=settings, job_id="deleted", attempt=1)
    assert JobStore(database).job(assignment.job_id) is None
    command = [sys.executable, *TRAINING_ENTRY_POINT.split()]
    line = f"{assignment.model_dump_json()}\n"
    ended = subprocess.run(command, input=line, capture_output=True, text=True, cwd=ROOT)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
