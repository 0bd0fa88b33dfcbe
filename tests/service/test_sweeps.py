"""A sweep in a service of its own: it ends, wherever the service was killed."""

import json
import signal

import pytest

from tests.service.running import run_service, wait_until

SWEEP_REQUEST = {"name": "how fast?", "seed": 1, "batch_size": 50, "epochs": 1}
FINAL_STATUSES = ("succeeded", "failed", "cancelled")


# One rate more than train at once: one job still waits when the first has ended. Without the
# setting, the jobs fill the cores.
@pytest.mark.parametrize(
    ("settings", "rates"), [({"train_jobs": 1}, [0.001, 0.05]), ({}, [0.001, 0.01, 0.05])]
)
def test_sweep_ends_and_promotes_nothing_when_the_service_is_killed(
    tmp_path, settings, rates, small_data_dir
):
    state, settings = tmp_path / "var", {**settings, "data_dir": small_data_dir}
    request_body = json.dumps({**SWEEP_REQUEST, "learning_rate": rates}).encode()
    with run_service(state, **settings) as service:
        live = service.get("/models")["current"]
        sweep = service.post("/sweeps", request_body)["id"]
        assert wait_until(lambda: service.get(f"/sweeps/{sweep}")["best"], 600)
        service.end(signal.SIGKILL)
    with run_service(state, **settings) as service:
        assert wait_until(lambda: service.get(f"/sweeps/{sweep}")["status"] in FINAL_STATUSES, 600)
        body = service.get(f"/sweeps/{sweep}")
        assert body["status"] == "succeeded", body
        assert [job["status"] for job in body["jobs"]] == ["succeeded"] * len(rates)
        best = body["best"]
        assert best["test_accuracy"] == max(job["test_accuracy"] for job in body["jobs"])
        assert best["test_loss"] == service.get(f"/train/{best['id']}")["epochs"][-1]["test_loss"]
        assert service.get("/models")["current"] == live
        service.end()
