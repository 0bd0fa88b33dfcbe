"""Jobs over HTTP as clients see them: followed by many, one at a time, passed on to the living."""

import json
import os
import signal
import subprocess
import threading
import time
from http.client import HTTPConnection
from itertools import pairwise

from tests.service.running import comes_true, serving


def follow(service, job, after=None, until=None):
    """Read server-sent events until the stream ends, or `until` says that it is enough."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=120)
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
            if until and until(events):
                break
    connection.close()
    return events


def ended(events):
    return events[-1][1] == "status" and events[-1][2]["status"] == "succeeded"


def test_events_are_followed_by_many_also_across_kill_9(tmp_path):
    with serving(tmp_path / "var") as service:
        job = service.post("/train", b'{"epochs": 3, "seed": 4, "promote": "never"}')["id"]
        seen = follow(service, job, until=lambda events: events[-1][1] == "epoch")
        service.end(signal.SIGKILL)
    assert service.training_is_gone()
    with serving(tmp_path / "var") as service:
        heard = []
        listeners = [
            threading.Thread(target=lambda: heard.append(follow(service, job, seen[-1][0])))
            for _ in range(20)
        ]
        for listener in listeners:
            listener.start()
        slow = HTTPConnection("127.0.0.1", service.port)
        slow.request("GET", f"/train/{job}/events")  # and never reads
        for listener in listeners:
            listener.join(120)
        assert len(heard) == 20
        assert all(events == heard[0] for events in heard)
        assert ended(heard[0])
        every = [*seen, *heard[0]]
        assert [number for number, _, _ in every] == sorted({number for number, _, _ in every})
        batches = [(data["epoch"], data["batch"]) for _, kind, data in every if kind == "batch"]
        assert batches == [(epoch, batch) for epoch in range(3) for batch in range(100, 601, 100)]
        assert [data["epoch"] for _, kind, data in every if kind == "epoch"] == [0, 1, 2]
        assert follow(service, job) == every, "the whole story is told again to whoever comes late"
        slow.close()


def parent(pid):
    command = ["ps", "-o", "ppid=", "-p", str(pid)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_the_lease_passes_on_when_its_holder_is_killed(tmp_path):
    with serving(tmp_path / "var", workers=4) as service:
        job = service.post("/train", b'{"epochs": 5, "seed": 4, "promote": "never"}')["id"]
        service.job_until(job, lambda body: body["epochs"])
        holder = parent(service.trainings[0])
        assert holder != service.process.pid, "a worker supervises"
        os.kill(holder, signal.SIGKILL)
        service.job_until(job, lambda body: body["attempt"] == 2)
        assert comes_true(lambda: len(service.trainings) == 2)
        assert parent(service.trainings[1]) != holder
        done = service.job_until(job, lambda body: body["status"] == "succeeded")
        assert done["attempt"] == 2
        assert [epoch["epoch"] for epoch in done["epochs"]] == [0, 1, 2, 3, 4]
        service.end()
    assert service.training_is_gone()


def test_a_queue_is_worked_off_one_by_one_whatever_the_number_of_workers(tmp_path):
    with serving(tmp_path / "var", workers=4) as service:
        wanted = b'{"epochs": 1, "promote": "never"}'
        queued = [service.post("/train", wanted)["id"] for _ in range(3)]
        most = 0
        until = time.monotonic() + 180
        while any(service.get(f"/train/{job}")["status"] != "succeeded" for job in queued):
            running = service.get("/train?status=running")["data"]
            most = max(most, len(running))
            assert time.monotonic() < until
            time.sleep(0.1)
        assert most == 1
        jobs = [service.get(f"/train/{job}") for job in queued]
        assert [job["attempt"] for job in jobs] == [1, 1, 1]
        spans = [(job["started_at"], job["finished_at"]) for job in jobs]
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
