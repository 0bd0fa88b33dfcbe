"""Child processes that die before they are sent their line, or do not exit when they are killed."""

import os
import subprocess
import threading

import pytest

from app import subprocesses


def test_killed_process_that_exits_late_is_kept_until_then(caplog):
    """A busy machine takes longer than the time-outs to take down a process of a gigabyte."""
    may_exit = threading.Event()

    class LateProcess(subprocess.Popen):
        def wait(self, timeout=None):
            if timeout is not None:
                raise subprocess.TimeoutExpired(self.args, timeout)
            may_exit.wait()
            return super().wait()

    process = LateProcess(["sleep", "600"], stdin=subprocess.PIPE, text=True)
    pid = process.pid
    assert subprocesses.end(process) == [None]
    assert f"does not exit, probably waits for a disk: pid={pid}" in caplog.text
    del process  # if it is collected, a ResourceWarning fails the test
    (thread,) = [thread for thread in threading.enumerate() if thread.name == f"exit of {pid}"]
    may_exit.set()
    thread.join()
    with pytest.raises(ChildProcessError):  # it is reaped
        os.waitid(os.P_PID, pid, os.WEXITED)


def test_process_that_dies_before_its_line_is_reaped(monkeypatch):
    popen, started = subprocess.Popen, []

    def dead(_, **arguments):
        process = popen(["true"], **arguments)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        started.append(process)
        return process

    monkeypatch.setattr(subprocess, "Popen", dead)
    with pytest.raises(BrokenPipeError):
        subprocesses.start("app.none", "a line")
    assert started[0].returncode == 0
