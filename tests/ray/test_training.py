"""Jobs as runs of Ray Train: they end as they do without Ray, whoever is killed meanwhile."""

import json
import os
import signal
from itertools import pairwise

from tests.ray.cluster import STARTS_JOBS
from tests.ray.jobs import (
    ENDLESS,
    SOON,
    WANTED,
    begin,
    ended,
    environment,
    is_left,
    outcome,
    saved,
    until,
    workers,
)
from tests.service.running import wait_until


def test_a_worker_that_is_killed_changes_nothing(service, cluster, local):
    job = begin(service, WANTED)
    assert wait_until(lambda: saved(service.jobs, job) >= (2, 0), SOON)
    (worker,) = workers(cluster)
    os.kill(worker, signal.SIGKILL)
    seen = []

    def is_over(body):
        seen.append(saved(service.jobs, job))
        return body["finished_at"]

    until(service, job, is_over)
    assert outcome(service, job) == local
    there = [each for each in seen if each != (0, 0)]
    assert all(before <= after for before, after in pairwise(there)), "it never starts again"
    body = service.get(f"/train/{job}")
    assert body["attempt"] == 1, "Ray Train went on"
    assert [each["epoch"] for each in body["epochs"]] == [*range(WANTED["epochs"])]
    checkpoints = service.jobs / job
    assert wait_until(lambda: not checkpoints.exists()), "an ended job needs them no more"


def test_pause_resume_and_cancel(service, cluster):
    """Where its checkpoints are damaged meanwhile, it starts again, as another attempt."""
    job = begin(service, ENDLESS)
    until(service, job, lambda body: body["epochs"])
    sees_no_gpu(cluster)
    service.post(f"/train/{job}/pause")
    paused = until(service, job, lambda body: body["status"] == "paused")
    assert is_left(cluster)
    service.post(f"/train/{job}/resume")
    further = until(service, job, lambda body: len(body["epochs"]) > len(paused["epochs"]))
    assert further["epochs"][: len(paused["epochs"])] == paused["epochs"]
    service.post(f"/train/{job}/pause")
    paused = until(service, job, lambda body: body["status"] == "paused")
    assert is_left(cluster)
    (service.jobs / job / "checkpoint_manager_snapshot.json").write_text("")
    service.post(f"/train/{job}/resume")
    again = until(service, job, lambda body: len(body["epochs"]) > len(paused["epochs"]))
    assert again["attempt"] == paused["attempt"] + 1
    service.post(f"/train/{job}/cancel")
    assert service.get(f"/train/{job}")["status"] == "cancelled"
    assert is_left(cluster)


def sees_no_gpu(cluster):
    """Neither the replica, as what it started shows, nor the worker, whom Ray gave none."""
    (started,) = [pid for node in cluster.nodes for pid in node.running(STARTS_JOBS)]
    assert environment(started)["CUDA_VISIBLE_DEVICES"] == ""
    (worker,) = workers(cluster)
    assert environment(worker)["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] == "1"


def test_a_gpu_that_no_node_has_is_told_of(service):
    job = begin(service, {**WANTED, "device": "cuda"})
    error = ended(service, job, "failed")["error"]
    assert error["code"] == "bad_device"
    assert error["message"].startswith("No node of the Ray cluster has a GPU")


def test_a_sweep_trains_its_jobs_at_once(service):
    """The best of them goes through the gate, as without Ray."""
    wanted = {**WANTED, "epochs": 20, "promote": "always", "learning_rate": [0.001, 0.03]}
    sweep = service.post("/sweeps", json.dumps(wanted).encode())["id"]
    assert wait_until(lambda: service.get(f"/sweeps/{sweep}")["finished_at"], SOON)
    ended = service.get(f"/sweeps/{sweep}")
    assert ended["status"] == "succeeded", ended
    jobs = [service.get(f"/train/{each['id']}") for each in ended["jobs"]]
    assert max(each["started_at"] for each in jobs) < min(each["finished_at"] for each in jobs)
    assert ended["best"]["hyperparameters"] == {"learning_rate": 0.03}
    live = ended["result"]["version"]
    # Each replica looks for itself, and any of them may be the one that is asked.
    assert wait_until(lambda: service.get("/health/ready")["version"] == live)
