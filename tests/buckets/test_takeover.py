"""Two services with one database and one bucket between them, and nothing else: one is killed."""

import json
import re
import signal
from contextlib import ExitStack

import pytest

from app.versions.bucket.object_store import Bucket
from tests.postgres import FAST_SETTINGS, run_postgres
from tests.service.running import are_gone, run_service, wait_until

HYPERPARAMETERS = {"epochs": 4, "seed": 4, "promote": "never"}


@pytest.fixture
def services(s3_url, tmp_path):
    with run_postgres(*FAST_SETTINGS) as server, ExitStack() as stack:
        shared = {"database_url": server.fresh(), "models_url": s3_url, "train_threads": 1}
        yield [
            stack.enter_context(run_service(tmp_path / name, **shared)) for name in ("one", "other")
        ]


def succeeded(body):
    return body["status"] == "succeeded"


def digest(service, job):
    version = service.get(f"/train/{job}")["result"]["version"]
    return service.get(f"/models/{version}")["weights_digest"]


def test_who_takes_a_job_over_goes_on_from_the_copy_of_its_state(services, s3_url):
    def copies():
        return bucket.sizes(f"jobs/{job}/")

    bucket, body = Bucket.at(s3_url), json.dumps(HYPERPARAMETERS).encode()
    job = services[0].post("/train", body)["id"]
    services[0].job_until(job, lambda body: body["epochs"])
    first, second = services if services[0].trainings else reversed(services)
    assert wait_until(copies)
    first.end(signal.SIGKILL)
    assert are_gone(first.trainings)
    second_job = second.post("/train", body)["id"]
    second.job_until(job, lambda body: len(body["epochs"]) > 2)
    assert second.job_until(job, succeeded)["attempt"] == 2
    epoch, batch = re.search(
        rf"from a copy: job={job} copy=jobs/{job}/1-\d+\.pt epoch=(\d+) batch=(\d+)",
        second.log.read_text(),
    ).groups()
    assert (int(epoch), int(batch)) > (0, 0), "not from its seed"
    second.job_until(second_job, lambda body: len(body["epochs"]) > 2)
    second.job_until(second_job, succeeded)
    assert digest(second, job) == digest(second, second_job)
    assert wait_until(lambda: not copies()), "copies of ended jobs are removed"
    second.end()
