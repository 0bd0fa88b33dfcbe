"""Worker processes that hang: noticed by their heartbeat, killed, and started again."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from app import subprocesses
from app.train.jobs.job import MAX_CRASHES
from app.train.supervisor import heartbeat_monitor
from app.train.supervisor.heartbeat_monitor import (
    MAX_GAP,
    HeartbeatMonitor,
    seconds_waited_for_core,
)
from tests.train.supervisor.test_supervisor import create, wait_until

STALL_SECONDS = 3.0


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"train_stall_seconds": STALL_SECONDS})


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The clock of the heartbeat monitors, which the test sets: a busy machine stalls by itself."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(heartbeat_monitor, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def first_process(supervisor, stand_in, job):
    """Return the process of a job, once it is monitored, with its monitor."""
    wait_until(lambda: supervisor._running)
    return stand_in.started[job], supervisor._running[0].heartbeat


def reasons(store, job):
    events = store.events(job, kind="status")
    return [event.data["reason"] for event in events if "reason" in event.data]


def test_process_without_heartbeat_is_killed_and_started_again(
    store, supervise, stand_in, clock, caplog
):
    def has_next_attempt():
        clock.now += STALL_SECONDS  # again and again: the process may have waited for a core
        return store.job(job).attempt >= 2

    job = create(store)
    with supervise() as supervisor:
        stalled, _ = first_process(supervisor, stand_in, job)
        wait_until(has_next_attempt)
    assert stalled.returncode == -signal.SIGKILL
    assert store.job(job).crashes >= 1
    assert reasons(store, job)[0] == (
        "The worker process sent no heartbeat for 3 seconds and was killed."
    )
    assert f"worker process stalled, killed: job={job} pid={stalled.pid}" in caplog.text


def test_process_with_heartbeat_goes_on(store, supervise, stand_in, clock):
    def is_heard():
        process.stdin.write(".")  # the stand-in writes what it reads
        process.stdin.flush()
        return monitor._checked_at == clock.now and monitor._silent_seconds == 0.0

    def has_ended():
        has_ended = process.poll() is not None
        clock.now += 0.0 if has_ended else STALL_SECONDS  # some heartbeats may still be unread
        return has_ended

    job = create(store)
    with supervise() as supervisor:
        process, monitor = first_process(supervisor, stand_in, job)
        for _ in range(4):
            clock.now += 0.9 * STALL_SECONDS
            wait_until(is_heard)
            assert process.poll() is None
        process.send_signal(signal.SIGSTOP)
        wait_until(has_ended)
        wait_until(lambda: store.job(job).attempt >= 2)
    assert reasons(store, job)[0].startswith("The worker process sent no heartbeat")


def test_process_that_stalls_each_time_fails_the_job(store, supervise, stand_in, clock):
    def has_failed():
        clock.now += STALL_SECONDS
        return store.job(job).status == "failed"

    job = create(store)
    store.change_job(job, values={"crashes": MAX_CRASHES - 1})
    with supervise() as supervisor:
        first_process(supervisor, stand_in, job)
        wait_until(has_failed)
    error = store.job(job).error
    assert error["code"] == "process_died"
    assert "sent no heartbeat" in error["message"]


def test_time_in_which_the_supervisor_was_suspended_does_not_count(clock):
    monitor = HeartbeatMonitor(None)
    clock.now = 1.0
    assert monitor.silent_seconds() == 1.0
    clock.now = 1000.0
    assert monitor.silent_seconds() == 1.0 + MAX_GAP


class Process:
    """A process without a pipe. The test sets how long it waited for a core."""

    pid, stdout = 1, None


def test_time_in_which_the_process_waits_for_a_core_does_not_count(clock, monkeypatch):
    waited = 100.0
    monkeypatch.setattr(heartbeat_monitor, "seconds_waited_for_core", lambda _pid: waited)
    monitor = HeartbeatMonitor(Process())
    for _ in range(10):  # it gets a tenth of a core
        clock.now, waited = clock.now + 1.0, waited + 0.9
        monitor.silent_seconds()
    assert monitor.silent_seconds() == pytest.approx(1.0)
    clock.now += 2.0
    assert monitor.silent_seconds() == pytest.approx(3.0)
    waited += 2.0  # the kernel counts a wait when it ends
    assert monitor.silent_seconds() == pytest.approx(1.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts it")
def test_kernel_counts_the_wait_of_a_process_that_has_no_core():
    core = {min(os.sched_getaffinity(0))}
    code = f"import os; os.sched_setaffinity(0, {core}); print(flush=True)\nwhile True: pass"
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
            )
            for _ in range(2)
        )
        for process in (first, second):
            stack.callback(process.kill)
            process.stdout.readline()
        before = seconds_waited_for_core(first.pid)
        wait_until(lambda: seconds_waited_for_core(first.pid) > before + 0.1)
        first.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
        stopped_at = seconds_waited_for_core(first.pid)
        time.sleep(0.2)
        assert seconds_waited_for_core(first.pid) == stopped_at
    assert seconds_waited_for_core(first.pid) == 0.0, "it was reaped"


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
