"""The standby process of a running service: it takes the next job, and ends with the service."""

import json
import re
import signal

from tests.service.running import are_gone, run_service, wait_until

JOB = json.dumps({"recipe": "quick", "epochs": 1, "seed": 1, "promote": "never"}).encode()


def standby_pids(service):
    found = re.findall(r"standby process started: pid=(\d+)", service.log.read_text())
    return [int(pid) for pid in found]


def digest(service, job):
    version = service.job_until(job, lambda body: body["result"])["result"]["version"]
    return service.get(f"/models/{version}")["weights_digest"]


def test_first_job_gets_the_standby_process_and_the_last_one_ends_with_the_service(
    tmp_path, small_data_dir
):
    with run_service(tmp_path / "var", data_dir=small_data_dir, train_standby=True) as service:
        assert wait_until(lambda: standby_pids(service))
        jobs = [service.post("/train", JOB)["id"] for _ in range(2)]
        first, second = (digest(service, job) for job in jobs)
        assert first == second, "the second one starts before there is another standby process"
        assert service.trainings[0] == standby_pids(service)[0]
        assert wait_until(lambda: standby_pids(service)[-1] not in service.trainings)
        service.end(signal.SIGKILL)
    assert are_gone(standby_pids(service))
