"""A sweep in a service of its own: it ends, and goes on wherever the service was killed."""

import json
import signal

import pytest

from tests.service.running import run_service, wait_until

SWEEP_REQUEST = {
    "name": "how fast?",
    "seed": 1,
    "batch_size": 1000,
    "epochs": 1,
    "promote": "always",
}
FINAL_STATUSES = ("succeeded", "failed", "cancelled")


def wait_for_end(service, sweep):
    assert wait_until(lambda: service.get(f"/sweeps/{sweep}")["status"] in FINAL_STATUSES, 240)
    return service.get(f"/sweeps/{sweep}")


# One rate more than train at once: some is left to do where the first is done.
@pytest.mark.parametrize(("jobs", "rates"), [(1, [0.001, 0.05]), (2, [0.001, 0.01, 0.05])])
def test_a_sweep_ends_also_where_the_service_is_killed(tmp_path, jobs, rates):
    state, settings = tmp_path / "var", {"train_jobs": jobs, "train_threads": 1}
    request_body = json.dumps({**SWEEP_REQUEST, "learning_rate": rates}).encode()
    with run_service(state, **settings) as service:
        sweep = service.post("/sweeps", request_body)["id"]
        assert wait_until(lambda: service.get(f"/sweeps/{sweep}")["best"], 120)
        service.end(signal.SIGKILL)
    with run_service(state, **settings) as service:
        assert wait_until(lambda: "looks at its best" in service.log.read_text(), 240)
        service.end(signal.SIGKILL)
    with run_service(state, **settings) as service:
        body = wait_for_end(service, sweep)
        assert body["status"] == "succeeded", body
        assert [job["status"] for job in body["jobs"]] == ["succeeded"] * len(rates)
        best = max(body["jobs"], key=lambda job: job["test_accuracy"])
        assert (body["best"], body["result"]["version"]) == (best, best["version"])
        assert body["result"]["promoted"] is True
        assert service.get("/models")["current"] == best["version"]
        history = (state / "models" / "CURRENT").read_text().split()
        assert history.count(str(best["version"])) == 1, "it went live once"
        service.end()
