"""A running job is paused, resumed and cancelled over HTTP, in its real process."""

import time

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from tests.api.routes.test_train import wait
from tests.service.running import TRAINING_TIMEOUT

# Epochs of half a second: there is time to interrupt the job between the first and the last.
HYPERPARAMETERS = {"epochs": 6, "batch_size": 4, "promote": "never"}


@pytest.fixture
def client(settings, small_data_dir):
    """The app, with data small enough that an epoch is short."""
    small = settings.model_copy(update={"data_dir": small_data_dir})
    with TestClient(create_app(small), raise_server_exceptions=False) as client:
        yield client


def test_a_running_job_is_cancelled_and_leaves_nothing(client, settings):
    job = client.post("/train", json={"epochs": 1000}).json()["id"]
    deadline = time.monotonic() + TRAINING_TIMEOUT
    while not client.get(f"/train/{job}").json()["epochs"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.post(f"/train/{job}/cancel").json()["status"] == "cancelled"
    other = client.post("/train", json={"epochs": 1, "learning_rate": 1e30}).json()["id"]
    failed = wait(client, other)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "diverged")
    assert client.get(f"/train/{job}").json()["status"] == "cancelled"
    assert [card["version"] for card in client.get("/models").json()["data"]] == [1]
    deadline = time.monotonic() + TRAINING_TIMEOUT
    while any(settings.jobs_dir.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_paused_job_goes_on_where_it_was(client, settings):
    job = client.post("/train", json=HYPERPARAMETERS).json()["id"]
    state = settings.jobs_dir / f"{job}.pt"
    deadline = time.monotonic() + TRAINING_TIMEOUT
    # A long epoch is saved before its end, too.
    while not (state.exists() and client.get(f"/train/{job}").json()["epochs"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.post(f"/train/{job}/pause").json()["status"] == "paused"
    paused_job = client.get(f"/train/{job}").json()
    assert paused_job["epochs"] and state.exists()
    assert client.post(f"/train/{job}/resume").json()["status"] == "queued"
    done = wait(client, job)
    assert (done["status"], done["attempt"]) == ("succeeded", 2)
    assert done["epochs"][: len(paused_job["epochs"])] == paused_job["epochs"]
    assert [epoch["epoch"] for epoch in done["epochs"]] == [*range(6)]
