"""Limits that a process sets for itself."""

import os
import signal
import sys
import time

import pytest

from app.sandbox.limits import die_with_parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl")
TIMEOUT = 120


def fork(work):
    """Run `work` in a child process. Return its id, and the end of a pipe that closes with it."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, ours
    try:
        os.close(ours)
        work(theirs)
    finally:
        os._exit(1)


def test_process_ends_with_its_parent():
    def parent(pipe):
        own = os.getpid()
        pid, _ = fork(lambda _: (die_with_parent(own), os.write(pipe, b"."), time.sleep(TIMEOUT)))
        os.waitpid(pid, 0)

    pid, pipe = fork(parent)
    assert os.read(pipe, 1) == b".", "the child waits for the end of its parent"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert os.read(pipe, 1) == b"", "no process has it open any more"
    os.close(pipe)


def test_process_whose_parent_has_ended_is_refused():
    parent, pipe = fork(lambda _: None)
    os.waitpid(parent, 0)
    os.close(pipe)

    def report(pipe):
        try:
            die_with_parent(parent)
        except ProcessLookupError as error:
            os.write(pipe, str(error).encode())

    child, pipe = fork(report)
    os.waitpid(child, 0)
    assert os.read(pipe, 100).decode() == f"the process {parent}, which forked this one, has ended"
    os.close(pipe)
