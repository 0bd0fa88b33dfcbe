"""Several jobs that run at once; with a stand-in for the process."""

import os
import signal
import subprocess

import pytest

from app import subprocesses
from app.database.tables import now
from app.train.jobs import job as jobs
from app.train.supervisor.worker_process import WorkerProcess
from tests.train.supervisor.test_supervisor import create, wait_for_ticks, wait_until

IO_ERROR_COMMAND = f"exit {os.EX_IOERR}"
HANGING_COMMAND = "exec sleep 600"


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"train_jobs": 2})


@pytest.fixture
def launched(stand_in):
    """The latest process of each job."""
    return stand_in.started


def states(store, *ids):
    return [store.job(job).status for job in ids]


def test_as_many_run_as_may_and_the_next_follows(store, supervise):
    first, second, third = (create(store) for _ in range(3))
    with supervise() as supervisor:
        wait_until(lambda: states(store, first, second) == ["running", "running"])
        wait_for_ticks(supervisor)
        assert states(store, third) == ["queued"]
        jobs.cancel(store, first)
        wait_until(lambda: states(store, second, third) == ["running", "running"])
        assert [store.job(job).attempt for job in (second, third)] == [1, 1], "none was adopted"
    assert states(store, second, third) == ["queued", "queued"]
    assert [store.job(job).crashes for job in (second, third)] == [0, 0]


@pytest.mark.parametrize("action", [jobs.cancel, jobs.pause])
def test_a_wish_for_one_is_none_for_the_other(store, supervise, launched, action):
    first, second = create(store), create(store)
    with supervise():
        wait_until(lambda: states(store, first, second) == ["running", "running"])
        action(store, first)
        wait_until(lambda: launched[first].poll() is not None)
        assert launched[second].poll() is None
        assert (store.job(second).status, store.job(second).attempt) == ("running", 1)


def test_the_death_of_one_is_its_own(store, supervise, launched):
    first, second = create(store), create(store)
    with supervise():
        wait_until(lambda: states(store, first, second) == ["running", "running"])
        launched[first].kill()
        wait_until(lambda: store.job(first).attempt == 2 and states(store, first) == ["running"])
        assert (store.job(second).attempt, launched[second].poll()) == (1, None)
        assert [store.job(job).crashes for job in (first, second)] == [1, 0]


def test_who_waits_for_another_try_holds_up_nobody(store, supervise, stand_in):
    def all_failed():
        for job in failing_jobs:  # their time has come
            store.change_job(job, values={"not_before": now()})
        return states(store, *failing_jobs) == ["failed", "failed"]

    failing_jobs = [create(store), create(store)]
    stand_in.code_of.update(dict.fromkeys(failing_jobs, IO_ERROR_COMMAND))
    later = create(store)
    with supervise(back_off=60.0):
        wait_until(lambda: states(store, later) == ["running"])
        wait_until(lambda: states(store, *failing_jobs) == ["queued", "queued"])
        assert [store.job(job).attempt for job in failing_jobs] == [1, 1]
        wait_until(all_failed)
    assert store.job(later).attempt == 1


def test_a_job_that_is_resumed_at_once_runs_once(store, supervise, launched):
    job = create(store)
    with supervise() as supervisor:
        wait_until(lambda: states(store, job) == ["running"] and job in launched)
        old_process = launched[job]
        jobs.pause(store, job)
        jobs.resume(store, job)
        wait_until(lambda: store.job(job).attempt == 2 and old_process.poll() is not None)
        wait_until(lambda: states(store, job) == ["running"] and launched[job].poll() is None)
        wait_for_ticks(supervisor)
        assert (store.job(job).attempt, store.job(job).crashes) == (2, 0)


def test_exit_of_an_older_attempt_leaves_the_present_one_alone(store):
    job_id = create(store)
    jobs.start(store, store.job(job_id))
    worker = WorkerProcess(store, store.job(job_id), None, back_off=0.0, stall_seconds=60.0)
    jobs.requeue(store, store.job(job_id))  # another supervisor has the lease by now
    jobs.start(store, store.job(job_id))
    worker.handle_exit()
    worker.requeue()
    job = store.job(job_id)
    assert (job.status, job.attempt, job.crashes) == ("running", 2, 0)


def test_all_are_ended_side_by_side(store, supervise, stand_in, launched, monkeypatch):
    """Each that does not end by itself costs all of the patience there is, but only once."""
    monkeypatch.setattr(subprocesses, "EXIT_TIMEOUT", 0.2)
    monkeypatch.setattr(subprocesses, "KILL_TIMEOUT", 120.0)
    wait, time_outs = subprocess.Popen.wait, []

    def recording_wait(self, timeout=None):
        if timeout is not None:
            time_outs.append(timeout)
        return wait(self, timeout)

    job_ids = [create(store), create(store)]
    stand_in.code = HANGING_COMMAND
    with supervise():
        wait_until(lambda: states(store, *job_ids) == ["running", "running"])
        wait_until(lambda: all(job in launched for job in job_ids))
        monkeypatch.setattr(subprocess.Popen, "wait", recording_wait)
    until_killed = [timeout for timeout in time_outs if timeout < subprocesses.KILL_TIMEOUT]
    assert len(until_killed) == 2
    assert sum(until_killed) <= subprocesses.EXIT_TIMEOUT, "the second had no time-out of its own"
    assert [launched[job].returncode for job in job_ids] == [-signal.SIGKILL] * 2
    assert states(store, *job_ids) == ["queued", "queued"]


def test_orphans_are_adopted_beside_what_runs(store, supervise):
    first, orphan = create(store), create(store)
    with supervise():
        wait_until(lambda: states(store, first, orphan) == ["running", "running"])
    jobs.start(store, store.job(orphan))
    with supervise():
        wait_until(lambda: store.job(orphan).attempt == 3 and store.job(first).attempt == 2)
    assert [store.job(job).crashes for job in (first, orphan)] == [0, 0]


def test_what_one_is_writing_stays_while_another_ends(settings, store, supervise):
    first, second = create(store), create(store)
    settings.jobs_dir.mkdir(parents=True)
    with supervise():
        wait_until(lambda: states(store, first, second) == ["running", "running"])
        partial_file = settings.jobs_dir / f".{second}.pt.0000.tmp"
        (settings.jobs_dir / f"{first}.pt").write_text("")
        partial_file.write_text("")
        jobs.cancel(store, first)
        wait_until(lambda: not (settings.jobs_dir / f"{first}.pt").exists())
        assert partial_file.exists()
        jobs.cancel(store, second)
        wait_until(lambda: not partial_file.exists())
