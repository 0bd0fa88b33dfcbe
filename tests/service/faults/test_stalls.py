"""A training process that hangs is replaced, and the job ends as if nothing had happened."""

import json
import os
import signal
import sqlite3
from contextlib import closing

from tests.service.running import run_service

# With the small data folder, an epoch has 500 batches.
REQUEST = {"epochs": 6, "batch_size": 4, "seed": 4, "promote": "never"}


def has_succeeded(body):
    return body["status"] == "succeeded"


def stop_between_writes(pid, database):
    """Stop a process while it does not lock the database.

    With the lock, it would stop its supervisor, too, which then kills it for another reason: the
    lease cannot be renewed.
    """
    with closing(sqlite3.connect(database, timeout=5, isolation_level=None)) as connection:
        while True:
            os.kill(pid, signal.SIGSTOP)
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
            else:
                connection.execute("ROLLBACK")
                return


def test_a_stopped_process_is_killed_and_its_job_ends_with_the_same_weights(
    tmp_path, small_data_dir
):
    body = json.dumps(REQUEST).encode()
    with run_service(tmp_path / "var", data_dir=small_data_dir, train_stall_seconds=20) as service:
        stopped = service.post("/train", body)["id"]
        reference = service.post("/train", body)["id"]
        service.job_until(stopped, lambda body: body["epochs"])
        stop_between_writes(service.trainings[-1], tmp_path / "var" / "mynet.db")
        first, second = (service.job_until(job, has_succeeded) for job in (stopped, reference))
        digests = {
            service.get(f"/models/{job['result']['version']}")["weights_digest"]
            for job in (first, second)
        }
        log = [line for line in service.log.read_text().splitlines() if "app.access" not in line]
        events = service.text(f"/train/{stopped}/events")
    assert first["attempt"] > 1
    assert len(digests) == 1
    killed = f"worker process stalled, killed: job={stopped}"
    assert any(killed in line for line in log), "\n".join(log)
    assert "sent no heartbeat for 20 seconds and was killed." in events
