"""Several jobs that run at once; with a stand-in for the process."""

import os
import signal
import subprocess
import sys
import time

import pytest

from app.train import job as jobs
from app.train import process, supervisor
from app.train.supervisor import Supervisor
from tests.train.test_supervisor import WAITS, create, until

FAILS = f"import sys; sys.exit({os.EX_IOERR})"
STUBBORN = "import time; time.sleep(600)"


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"train_jobs": 2})


@pytest.fixture(autouse=True)
def launched(monkeypatch):
    """Let processes run `code` instead of a training; give them by their jobs."""
    launched, code = {}, {}

    def launch(assignment, _trainer):
        command = [sys.executable, "-c", code.get(assignment.job_id, WAITS)]
        launched[assignment.job_id] = started = subprocess.Popen(
            command, stdin=subprocess.PIPE, text=True
        )
        return started

    monkeypatch.setattr(supervisor, "_launch", launch)
    launched["code"] = code
    return launched


def states(store, *ids):
    return [store.job(job).status for job in ids]


def test_as_many_run_as_may_and_the_next_follows(settings, store):
    first, second, third = (create(store) for _ in range(3))
    with Supervisor(settings, store):
        until(lambda: states(store, first, second) == ["running", "running"])
        time.sleep(2 * supervisor.POLL)
        assert states(store, third) == ["queued"]
        jobs.cancel(store, first)
        until(lambda: states(store, second, third) == ["running", "running"])
        assert [store.job(job).attempt for job in (second, third)] == [1, 1], "none was adopted"
    assert states(store, second, third) == ["queued", "queued"]
    assert [store.job(job).deaths for job in (second, third)] == [0, 0]


@pytest.mark.parametrize("wish", [jobs.cancel, jobs.pause])
def test_a_wish_for_one_is_none_for_the_other(settings, store, launched, wish):
    first, second = create(store), create(store)
    with Supervisor(settings, store):
        until(lambda: states(store, first, second) == ["running", "running"])
        wish(store, first)
        until(lambda: launched[first].poll() is not None)
        assert launched[second].poll() is None
        assert (store.job(second).status, store.job(second).attempt) == ("running", 1)


def test_the_death_of_one_is_its_own(settings, store, launched):
    first, second = create(store), create(store)
    with Supervisor(settings, store):
        until(lambda: states(store, first, second) == ["running", "running"])
        launched[first].kill()
        until(lambda: store.job(first).attempt == 2 and states(store, first) == ["running"])
        assert (store.job(second).attempt, launched[second].poll()) == (1, None)
        assert [store.job(job).deaths for job in (first, second)] == [1, 0]


def test_who_waits_for_another_try_holds_up_nobody(settings, store, launched):
    failing = [create(store), create(store)]
    launched["code"].update(dict.fromkeys(failing, FAILS))
    later = create(store)
    with Supervisor(settings, store):
        until(lambda: states(store, later) == ["running"])
        assert all(store.job(job).status != "failed" for job in failing)
        until(lambda: states(store, *failing) == ["failed", "failed"])
    assert store.job(later).attempt == 1


def test_a_job_that_is_resumed_at_once_runs_once(settings, store, launched):
    job = create(store)
    with Supervisor(settings, store):
        until(lambda: states(store, job) == ["running"] and job in launched)
        before = launched[job]
        jobs.pause(store, job)
        jobs.resume(store, job)
        until(lambda: store.job(job).attempt == 2 and before.poll() is not None)
        until(lambda: states(store, job) == ["running"] and launched[job].poll() is None)
        time.sleep(2 * supervisor.POLL)
        assert (store.job(job).attempt, store.job(job).deaths) == (2, 0)


def test_all_are_ended_side_by_side(settings, store, launched, monkeypatch):
    """Each that does not end by itself costs all of the patience there is, but only once."""
    monkeypatch.setattr(process, "PATIENCE", 1.0)
    both = [create(store), create(store)]
    launched["code"].update(dict.fromkeys(both, STUBBORN))
    with Supervisor(settings, store):
        until(lambda: states(store, *both) == ["running", "running"])
        until(lambda: all(job in launched for job in both))
        begun, waited = time.monotonic(), []
        monkeypatch.setattr(
            subprocess.Popen,
            "kill",
            lambda self: (waited.append(time.monotonic() - begun), os.kill(self.pid, 9)),
        )
    assert len(waited) == 2
    assert waited[1] - waited[0] < process.PATIENCE, "the second waited no patience of its own"
    assert [launched[job].returncode for job in both] == [-signal.SIGKILL] * 2
    assert states(store, *both) == ["queued", "queued"]


def test_orphans_are_adopted_beside_what_runs(settings, store):
    first, orphan = create(store), create(store)
    with Supervisor(settings, store):
        until(lambda: states(store, first, orphan) == ["running", "running"])
    jobs.start(store, store.job(orphan))
    with Supervisor(settings, store):
        until(lambda: store.job(orphan).attempt == 3 and store.job(first).attempt == 2)
    assert [store.job(job).deaths for job in (first, orphan)] == [0, 0]


def test_what_one_is_writing_stays_while_another_ends(settings, store):
    first, second = create(store), create(store)
    settings.jobs_dir.mkdir(parents=True)
    with Supervisor(settings, store):
        until(lambda: states(store, first, second) == ["running", "running"])
        written = settings.jobs_dir / f".{second}.pt.0000.tmp"
        (settings.jobs_dir / f"{first}.pt").write_text("")
        written.write_text("")
        jobs.cancel(store, first)
        until(lambda: not (settings.jobs_dir / f"{first}.pt").exists())
        assert written.exists()
        jobs.cancel(store, second)
        until(lambda: not written.exists())
