"""Worker processes that hang: noticed by their heartbeat, killed, and started again."""

import signal
import subprocess
import threading
import time

import pytest

from app import subprocesses
from app.train.jobs.job import MAX_CRASHES
from app.train.supervisor import heartbeat_monitor
from app.train.supervisor.heartbeat_monitor import MAX_GAP, HeartbeatMonitor
from tests.train.conftest import WAIT_COMMAND
from tests.train.supervisor.test_supervisor import create, wait_until

STALL_SECONDS = 0.3
BEATING_COMMAND = "while :; do printf .; sleep 0.05; done"


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"train_stall_seconds": STALL_SECONDS})


def reasons(store, job):
    events = store.events(job, kind="status")
    return [event.data["reason"] for event in events if "reason" in event.data]


def test_process_without_heartbeat_is_killed_and_started_again(store, supervise, stand_in, caplog):
    job = create(store)
    with supervise():
        wait_until(lambda: job in stand_in.started)
        stalled = stand_in.started[job]
        wait_until(lambda: store.job(job).attempt == 2)
    assert stalled.returncode == -signal.SIGKILL
    assert store.job(job).crashes >= 1
    assert reasons(store, job)[0] == (
        "The worker process sent no heartbeat for 0 seconds and was killed."
    )
    assert f"worker process stalled, killed: job={job} pid={stalled.pid}" in caplog.text


def test_process_with_heartbeat_goes_on(store, supervise, stand_in):
    job = create(store)
    stand_in.code = BEATING_COMMAND
    with supervise():
        wait_until(lambda: job in stand_in.started)
        time.sleep(4 * STALL_SECONDS)
        assert stand_in.started[job].poll() is None
        stand_in.code = WAIT_COMMAND
        stand_in.started[job].send_signal(signal.SIGSTOP)
        wait_until(lambda: store.job(job).attempt == 2)
    assert reasons(store, job)[0].startswith("The worker process sent no heartbeat")


def test_process_that_stalls_each_time_fails_the_job(store, supervise):
    job = create(store)
    store.change_job(job, values={"crashes": MAX_CRASHES - 1})
    with supervise():
        wait_until(lambda: store.job(job).status == "failed")
    error = store.job(job).error
    assert error["code"] == "process_died"
    assert "sent no heartbeat" in error["message"]


def test_time_in_which_the_supervisor_was_suspended_does_not_count(monkeypatch):
    clock = iter([0.0, 1.0, 1000.0])
    monkeypatch.setattr(heartbeat_monitor.time, "monotonic", lambda: next(clock))
    monitor = HeartbeatMonitor(None)
    assert monitor.silent_seconds() == 1.0
    assert monitor.silent_seconds() == 1.0 + MAX_GAP


class UnkillableProcess:
    """A process that waits for a disk: no signal ends it."""

    pid, returncode = 1, None

    def __init__(self):
        self.stdin = self.stdout = self
        self.killed, self.exited = False, threading.Event()

    def close(self):
        pass

    def kill(self):
        self.killed = True

    def wait(self, timeout=None):
        if timeout is None:  # the thread that reaps it
            self.exited.wait()
            return
        raise subprocess.TimeoutExpired("", timeout)


def test_end_does_not_wait_for_a_process_that_cannot_be_killed():
    process = UnkillableProcess()
    assert subprocesses.end(process) == [None]
    assert process.killed
    process.exited.set()
