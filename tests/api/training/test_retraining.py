"""Automatic retraining in the app: corrections by HTTP are counted, and a job is queued."""

import pytest

from tests.conftest import png
from tests.service.running import wait_until

AFTER = 2


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"retrain_after": AFTER})


def correct(client, pixels, label):
    answer = client.post("/feedback", files={"file": png(pixels)}, data={"label": str(label)})
    assert answer.status_code == 201, answer.text


def test_corrections_are_counted_and_enough_of_them_queue_one_job(idle, digits):
    def new():
        retraining = idle.get("/health/ready").json()["retraining"]
        assert retraining["after"] == AFTER
        return retraining["new"]

    assert new() == 0
    correct(idle, digits[0], 7)
    assert wait_until(lambda: new() == 1)
    assert idle.get("/train").json()["data"] == []
    correct(idle, digits[1], 2)
    assert wait_until(lambda: idle.get("/train").json()["data"])
    assert wait_until(lambda: new() == 0), "the job that waits will use them"
    (job,) = idle.get("/train").json()["data"]
    assert job["status"] == "queued"
    assert job["hyperparameters"]["include_feedback"] is True
    assert job["hyperparameters"]["note"] == "retrained by itself after 2 new corrections"
