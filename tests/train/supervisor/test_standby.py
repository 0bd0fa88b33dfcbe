"""Standby process: which job it takes, and when it starts and ends."""

import math
import os
import signal

import pytest

from app import subprocesses
from app.train.supervisor.scheduler import WORKER_MEMORY
from app.train.supervisor.standby import Standby, StandbyTiming
from app.train.supervisor.supervisor import WORKER_MODULE, Supervisor

MODULE = "tests.train.supervisor.line_reader"


@pytest.fixture
def make_standby():
    standbys, started = [], []

    def make(*, is_enabled=True, memory=math.inf, **timing):
        timing = StandbyTiming(**{"pause": 0.0, "retry": 0.0, **timing})
        standby = Standby(MODULE, timing, is_enabled=is_enabled, memory=lambda: memory)
        standbys.append(standby)
        real = standby.start

        def start(module, line):
            started.append(real(module, line))
            return started[-1]

        standby.start = start
        return standby

    yield make
    for standby in standbys:
        standby.end()
    subprocesses.end(*started)


def test_second_job_is_sent_to_the_standby_process(make_standby):
    standby = make_standby()
    first = standby.start(MODULE, "one")
    assert first.stdout.readline() == "one\n"
    standby.tend(is_training=False)
    waiting = standby.process
    assert waiting.pid != first.pid
    second = standby.start(MODULE, "two")
    assert second is waiting
    assert second.stdout.readline() == "two\n"
    assert standby.process is None, "each job has a process of its own"


def test_first_job_of_a_service_is_sent_to_the_standby_process(make_standby):
    standby = make_standby(pause=60.0)
    standby.tend(is_training=False)
    waiting = standby.process
    assert waiting, "it starts with the service"
    assert standby.start(MODULE, "one") is waiting
    assert waiting.stdout.readline() == "one\n"
    standby.tend(is_training=False)
    assert standby.process is None, "the next one waits for a pause"


def test_standby_process_waits_until_enough_memory_is_available(make_standby):
    standby = make_standby(memory=WORKER_MEMORY - 1)
    standby.tend(is_training=False)
    assert standby.process is None
    assert standby.start(MODULE, "one").stdout.readline() == "one\n", "jobs start without it"
    standby.tend(is_training=False)
    assert standby.process is None
    standby.memory = lambda: WORKER_MEMORY
    standby.tend(is_training=False)
    assert standby.process is not None


def test_service_without_a_standby_process_starts_a_process_for_each_job(make_standby):
    standby = make_standby(is_enabled=False)
    for line in ("one", "two"):
        assert standby.start(MODULE, line).stdout.readline() == f"{line}\n"
        standby.tend(is_training=False)
        assert standby.process is None


def test_job_is_started_without_the_standby_process_if_that_was_killed(make_standby):
    standby = make_standby()
    standby.start(MODULE, "one")
    standby.tend(is_training=False)
    killed = standby.process
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # its pipe is broken from now on
    process = standby.start(MODULE, "two")
    assert process is not killed, "the job would count a crash"
    assert process.stdout.readline() == "two\n"
    assert killed.returncode == -signal.SIGKILL, "it is reaped"


def test_killed_standby_process_is_replaced(make_standby):
    standby = make_standby()
    standby.start(MODULE, "one")
    standby.tend(is_training=False)
    killed = standby.process
    killed.kill()
    killed.wait()
    standby.tend(is_training=False)
    assert standby.process.pid != killed.pid
    assert standby.start(MODULE, "two").stdout.readline() == "two\n"


@pytest.mark.parametrize(("wait", "is_training"), [("delay", True), ("pause", False)])
def test_first_batches_and_clients_of_an_ended_job_come_before_the_standby_process(
    make_standby, wait, is_training
):
    standby = make_standby(**{wait: math.inf})
    standby.start(MODULE, "one")
    standby.tend(is_training=is_training)
    assert standby.process is None
    standby.timing = StandbyTiming(**{wait: 0.0})
    standby.tend(is_training=is_training)
    assert standby.process is not None


def test_idle_standby_process_ends_until_the_next_job(make_standby):
    standby = make_standby()
    standby.start(MODULE, "one")
    standby.tend(is_training=False)
    idle = standby.process
    standby.timing = StandbyTiming(idle=0.0)
    standby.tend(is_training=False)
    assert standby.process is None
    assert idle.returncode is not None
    standby.tend(is_training=False)
    assert standby.process is None


@pytest.mark.parametrize(
    ("module", "is_enabled", "expected"),
    [(WORKER_MODULE, True, True), (WORKER_MODULE, False, False), (MODULE, True, False)],
    ids=["here", "off", "on a cluster"],
)
def test_standby_process_is_for_jobs_that_are_trained_here(
    settings, database, module, is_enabled, expected
):
    settings = settings.model_copy(update={"train_standby": is_enabled})
    assert Supervisor(settings, database, module).standby.is_enabled is expected
