"""A training process that hangs is replaced, and the job ends as if nothing had happened."""

import json
import os
import signal

from tests.service.running import run_service

# With the small data folder, an epoch has 500 batches.
REQUEST = {"epochs": 6, "batch_size": 4, "seed": 4, "promote": "never"}


def has_succeeded(body):
    return body["status"] == "succeeded"


def test_a_stopped_process_is_killed_and_its_job_ends_with_the_same_weights(
    tmp_path, small_data_dir
):
    body = json.dumps(REQUEST).encode()
    with run_service(tmp_path / "var", data_dir=small_data_dir, train_stall_seconds=20) as service:
        stopped = service.post("/train", body)["id"]
        reference = service.post("/train", body)["id"]
        service.job_until(stopped, lambda body: body["epochs"])
        os.kill(service.trainings[-1], signal.SIGSTOP)
        first, second = (service.job_until(job, has_succeeded) for job in (stopped, reference))
        digests = {
            service.get(f"/models/{job['result']['version']}")["weights_digest"]
            for job in (first, second)
        }
        log = service.log.read_text()
        events = service.text(f"/train/{stopped}/events")
    assert first["attempt"] > 1
    assert len(digests) == 1
    assert f"worker process stalled, killed: job={stopped}" in log
    assert "sent no heartbeat for 20 seconds and was killed." in events
