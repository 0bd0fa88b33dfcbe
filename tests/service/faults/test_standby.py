"""The standby process of a running service: it takes the next job, and ends with the service."""

import json
import re
import signal

from tests.service.running import are_gone, run_service, wait_until

JOB = json.dumps({"recipe": "quick", "epochs": 1, "seed": 1, "promote": "never"}).encode()


def standby_pids(service):
    found = re.findall(r"standby process started: pid=(\d+)", service.log.read_text())
    return [int(pid) for pid in found]


def digest(service):
    job = service.post("/train", JOB)["id"]
    version = service.job_until(job, lambda body: body["result"])["result"]["version"]
    return service.get(f"/models/{version}")["weights_digest"]


def test_next_job_gets_the_standby_process_which_ends_with_the_service(tmp_path, small_data_dir):
    with run_service(tmp_path / "var", data_dir=small_data_dir) as service:
        assert standby_pids(service) == []
        first = digest(service)
        assert wait_until(lambda: standby_pids(service))
        assert digest(service) == first
        assert service.trainings[1] == standby_pids(service)[0]
        assert wait_until(lambda: len(standby_pids(service)) == 2)
        service.end(signal.SIGKILL)
    assert are_gone(standby_pids(service))
