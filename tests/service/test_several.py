"""Two jobs that train at once, in real processes: as if each were alone."""

import json
import os
import re
import signal
from contextlib import suppress

from tests.rigs.kills.job_monitor import Witness
from tests.service.faults.test_stalls import stop_between_writes
from tests.service.running import run_service, wait_until

# On the small data, an epoch has 1,000 batches.
HYPERPARAMETERS = {"epochs": 6, "batch_size": 2, "promote": "never"}


def pause_first(service, state, jobs):
    """Stop the process of the job that has trained an epoch first: the other one may take long.

    Return the id of the process.
    """

    def have_epochs():
        return [job for job in jobs if service.get(f"/train/{job}")["epochs"]]

    assert wait_until(have_epochs)
    (first, *_) = have_epochs()
    pid = int(re.findall(rf"process started: job={first} .*pid=(\d+)", service.log.read_text())[0])
    stop_between_writes(pid, state / "mynet.db")
    return pid


def test_two_at_once_end_as_if_alone_and_also_where_they_are_killed(tmp_path, small_data_dir):
    state = tmp_path / "var"
    witness = Witness(state)
    request_bodies = [json.dumps({**HYPERPARAMETERS, "seed": seed}).encode() for seed in (1, 2)]
    settings = {"train_jobs": 2, "train_threads": 1, "data_dir": small_data_dir}
    with run_service(state, **settings) as service:
        # One after the other: each is alone.
        sequential = [
            witness.outcome(service, service.post("/train", request_body)["id"])
            for request_body in request_bodies
        ]
        jobs = [service.post("/train", request_body)["id"] for request_body in request_bodies]
        paused = pause_first(service, state, jobs)
        for job in jobs:
            service.job_until(job, lambda body: body["epochs"])
        assert len(service.get("/train?status=running")["data"]) == 2
        os.kill(service.trainings[-2], signal.SIGKILL)
        service.end(signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(paused, signal.SIGCONT)
        assert service.training_is_gone()
    with run_service(state, **settings) as service:
        assert [witness.outcome(service, job) for job in jobs] == sequential
        assert {service.get(f"/train/{job}")["attempt"] for job in jobs} <= {2, 3}
        later_jobs = [service.post("/train", request_body)["id"] for request_body in request_bodies]
        for job in later_jobs:
            service.job_until(job, lambda body: body["progress"])
        assert service.end() in (0, -signal.SIGTERM)
        assert service.training_is_gone()
    assert sequential[0].weights != sequential[1].weights
    assert witness.changed_logs == 0
