"""Jobs over HTTP as clients see them: followed by many, one at a time, passed on to the living."""

import json
import os
import signal
import subprocess
import threading
import time
from http.client import HTTPConnection
from itertools import pairwise

import pytest

from app.versions.registry import SHIPPED, Registry
from tests.service.running import TRAINING_TIMEOUT, run_service, wait_until

NEXT_VERSION = len(list(SHIPPED.glob("*.safetensors"))) + 1
# With the small data folder, an epoch has 500 batches, which take a fraction of a second.
SMALL_BATCH = {"batch_size": 4, "seed": 4}


def epochs_of_batches(number):
    """List the batches that have an event in so many epochs: every hundredth, by epoch."""
    return [(epoch, batch) for epoch in range(number) for batch in range(100, 501, 100)]


def follow(service, job, after=None, stop=None):
    """Read server-sent events until the stream ends, or `until` says that it is enough."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=300)
    headers = {"Accept": "text/event-stream"}
    if after is not None:
        headers["Last-Event-ID"] = str(after)
    connection.request("GET", f"/train/{job}/events", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200
    events, event = [], {}
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            event[name] = value
        elif "event" in event:
            events.append((int(event["id"]), event["event"], json.loads(event["data"])))
            event = {}
            if stop and stop(events):
                break
    connection.close()
    return events


def has_succeeded(events):
    return events[-1][1] == "status" and events[-1][2]["status"] == "succeeded"


def test_a_job_and_its_events_go_on_across_kill_9(tmp_path, small_data_dir):
    """Many clients follow, the job goes on where it was, and what it shows stays."""
    state, epochs = tmp_path / "var", 10
    with run_service(state, data_dir=small_data_dir) as service:
        hyperparameters = {**SMALL_BATCH, "epochs": epochs, "promote": "always"}
        job = service.post("/train", json.dumps(hyperparameters).encode())["id"]
        first_events = follow(service, job, stop=lambda events: events[-1][1] == "epoch")
        epochs_before = service.get(f"/train/{job}")["epochs"]
        service.end(signal.SIGKILL)
    assert service.training_is_gone(), "the training process ends with its supervisor"
    with run_service(state, data_dir=small_data_dir) as service:
        streams = []
        listeners = [
            threading.Thread(
                target=lambda: streams.append(follow(service, job, first_events[-1][0]))
            )
            for _ in range(20)
        ]
        for listener in listeners:
            listener.start()
        slow = HTTPConnection("127.0.0.1", service.port)
        slow.request("GET", f"/train/{job}/events")  # and never reads
        for listener in listeners:
            listener.join(300)
        assert len(streams) == 20
        assert all(events == streams[0] for events in streams)
        assert has_succeeded(streams[0])
        all_events = [*first_events, *streams[0]]
        assert [number for number, _, _ in all_events] == sorted(
            {number for number, _, _ in all_events}
        )
        batches = [
            (data["epoch"], data["batch"]) for _, kind, data in all_events if kind == "batch"
        ]
        assert batches == epochs_of_batches(epochs)
        assert [data["epoch"] for _, kind, data in all_events if kind == "epoch"] == [
            *range(epochs)
        ]
        assert follow(service, job) == all_events, "a late client gets all events"
        slow.close()
        done = service.get(f"/train/{job}")
        assert done["attempt"] == 2
        assert done["epochs"][: len(epochs_before)] == epochs_before, "what was shown stays"
        assert [epoch["epoch"] for epoch in done["epochs"]] == [*range(epochs)]
        assert service.get("/models")["current"] == done["result"]["version"] == NEXT_VERSION
    assert Registry(state / "models").current() == NEXT_VERSION


def parent(pid):
    command = ["ps", "-o", "ppid=", "-p", str(pid)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def four_workers(tmp_path_factory, small_data_dir):
    """A service of four workers. The last test that uses it kills one of them."""
    state = tmp_path_factory.mktemp("four") / "var"
    with run_service(state, workers=4, data_dir=small_data_dir) as service:
        yield service


def test_a_queue_is_worked_off_one_by_one_whatever_the_number_of_workers(four_workers):
    service, request_body = four_workers, b'{"epochs": 1, "promote": "never"}'
    queued = [service.post("/train", request_body)["id"] for _ in range(3)]
    max_running = 0
    deadline = time.monotonic() + TRAINING_TIMEOUT
    while any(service.get(f"/train/{job}")["status"] != "succeeded" for job in queued):
        running = service.get("/train?status=running")["data"]
        max_running = max(max_running, len(running))
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert max_running == 1
    jobs = [service.get(f"/train/{job}") for job in queued]
    assert [job["attempt"] for job in jobs] == [1, 1, 1]
    spans = [(job["started_at"], job["finished_at"]) for job in jobs]
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_the_lease_passes_on_when_its_holder_is_killed(four_workers):
    service, epochs = four_workers, 12
    started = len(service.trainings)
    request_body = json.dumps({**SMALL_BATCH, "epochs": epochs, "promote": "never"}).encode()
    job = service.post("/train", request_body)["id"]
    service.job_until(job, lambda body: body["epochs"])
    holder = parent(service.trainings[-1])
    assert holder != service.process.pid, "a worker supervises"
    os.kill(holder, signal.SIGKILL)
    service.job_until(job, lambda body: body["attempt"] == 2)
    assert wait_until(lambda: len(service.trainings) == started + 2)
    assert parent(service.trainings[-1]) != holder
    done = service.job_until(job, lambda body: body["status"] == "succeeded")
    assert done["attempt"] == 2
    assert [epoch["epoch"] for epoch in done["epochs"]] == [*range(epochs)]
    service.end()
    assert service.training_is_gone()
