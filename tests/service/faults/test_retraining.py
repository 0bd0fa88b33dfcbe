"""Automatic retraining of a service that is killed: each correction counts once."""

import os
import random
import signal
import time
from contextlib import suppress

from mynet_client import Client
from tests.conftest import png
from tests.service.running import run_service, wait_until

AFTER = 3
NOTHING_NEW = {"new": 0, "after": AFTER}
DOCUMENTED = 1  # the shipped version of the recipe `documented`
KILLS = 3


def test_killed_at_any_time_it_queues_one_job_and_trains_it(tmp_path, small_data_dir, mnist):
    settings = {"data_dir": small_data_dir, "retrain_after": AFTER, "train_threads": 1}
    digits = list(zip(mnist.test.pixels.numpy(), mnist.test.labels.tolist(), strict=True))
    for number in range(1, KILLS + 1):
        with run_service(tmp_path / "var", **settings) as service:
            correct(service, digits[number * AFTER : (number + 1) * AFTER])
            # It looks for new corrections every two seconds, and the job starts at once.
            time.sleep(random.uniform(0, 4))
            service.end(signal.SIGKILL)
        with run_service(tmp_path / "var", **settings) as service:
            wait_for_jobs(service, number)
            if service.trainings:  # else the job had ended before the kill
                with suppress(ProcessLookupError):
                    os.kill(service.trainings[-1], signal.SIGKILL)
            job = service.job_until(jobs_of(service)[0]["id"], lambda body: body["finished_at"])
            version = service.get(f"/models/{job['result']['version']}")
            assert version["feedback"] == number * AFTER, "all corrections"
            assert wait_until(lambda: service.get("/health/ready")["retraining"] == NOTHING_NEW)
            assert len(jobs_of(service)) == number, "one job for so many corrections"
            service.end()


def correct(service, digits):
    """Send corrections to a service whose live version has the recipe `documented`."""
    with Client(f"http://127.0.0.1:{service.port}") as mynet:
        mynet.promote(DOCUMENTED)
        for pixels, label in digits:
            mynet.feedback(png(pixels), label)


def jobs_of(service):
    """Return the jobs, newest first."""
    return service.get("/train")["data"]


def wait_for_jobs(service, number):
    assert wait_until(lambda: len(jobs_of(service)) >= number)
