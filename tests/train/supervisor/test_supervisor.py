"""The supervisor: its lease, and jobs whose process ends; a stand-in replaces the process."""

import errno
import math
import os
import threading
import time
from datetime import timedelta

import pytest

from app.database.jobs import JobStore
from app.database.leases import LeaseStore
from app.database.tables import now
from app.errors import NotReady
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.job import Status
from app.train.supervisor.lease import LEASE_SECONDS, Lease
from app.train.supervisor.supervisor import CLEAN_UP_RETRY_INTERVAL, Supervisor
from tests.train.conftest import CRASH_COMMAND, WAIT_COMMAND


def create(store):
    return jobs.create(store, Hyperparameters(), max_queued=9, key=None).id


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_ticks(supervisor, number=3):
    """Wait until a supervisor has looked around so many times more."""
    acquire, ticks = supervisor.lease.acquire, []

    def counting_acquire():
        ticks.append(True)
        return acquire()

    supervisor.lease.acquire = counting_acquire
    wait_until(lambda: len(ticks) > number)  # the last one may still be under way
    supervisor.lease.acquire = acquire


def test_one_job_runs_at_a_time_and_the_next_follows(store, supervise):
    first, second = create(store), create(store)
    with supervise():
        wait_until(lambda: store.job(first).status == "running")
        assert store.job(second).status == "queued"
        jobs.cancel(store, first)
        wait_until(lambda: store.job(second).status == "running")
    assert store.job(second).status == "queued", "it goes on with the next service"
    assert store.job(second).crashes == 0


def test_idle_supervisor_asks_the_database_if_it_has_changed(store, supervise):
    supervisor = supervise(busy=0.0, idle=math.inf)
    assert all(supervisor._is_due() for _ in range(3)), "the lease may become free at any time"
    supervisor._tick()
    assert supervisor._is_due(), "the lease is in the database"
    assert not supervisor._is_due()
    job = create(store)
    assert supervisor._is_due()
    supervisor._tick()
    assert store.job(job).status == Status.RUNNING
    assert all(supervisor._is_due() for _ in range(3)), "a process may end at any time"
    supervisor._stop_and_requeue()
    assert supervisor._is_due()
    assert not supervisor._is_due()
    supervisor._checked_at = -math.inf
    assert supervisor._is_due(), "a job that failed starts again without a change"


def test_new_job_is_seen_at_once_and_a_running_one_at_intervals(store, supervise):
    supervisor = supervise(busy=math.inf, idle=math.inf)
    assert supervisor._is_due()
    assert not supervisor._is_due(), "another supervisor may have the lease"
    supervisor._tick()
    job = create(store)
    assert supervisor._is_due()
    supervisor._tick()
    assert store.job(job).status == Status.RUNNING
    create(store)
    assert not supervisor._is_due(), "each batch of a running job changes the database"
    supervisor._checked_at = -math.inf
    assert supervisor._is_due()
    supervisor._stop_and_requeue()


def test_while_a_job_is_paused_another_runs(store, supervise):
    first, second = create(store), create(store)
    with supervise():
        wait_until(lambda: store.job(first).status == "running")
        jobs.pause(store, first)
        wait_until(lambda: store.job(second).status == "running")
        jobs.resume(store, first)
        assert store.job(first).status == "queued", "one runs at a time"
        jobs.cancel(store, second)
        wait_until(lambda: store.job(first).status == "running")
    assert (store.job(first).attempt, store.job(first).crashes) == (2, 0)


def test_a_process_that_dies_is_started_again(store, supervise, stand_in):
    job = create(store)
    stand_in.code = CRASH_COMMAND
    with supervise():
        wait_until(lambda: store.job(job).crashes >= 1)
        stand_in.code = WAIT_COMMAND
        wait_until(lambda: store.job(job).status == "running" and store.job(job).attempt >= 2)


def test_a_process_that_could_not_write_fails_the_job_the_third_time(store, supervise, stand_in):
    job = create(store)
    stand_in.code = f"exit {os.EX_IOERR}"
    with supervise():
        wait_until(lambda: store.job(job).status == "failed")
    assert store.job(job).error["code"] == "storage_failed"
    assert (store.job(job).attempt, store.job(job).crashes) == (3, 0)


def test_a_process_that_cannot_be_started_counts_as_a_death(store, supervise):
    def no_process(*_):
        raise OSError("no memory")

    job = create(store)
    with supervise(start=no_process):
        wait_until(lambda: store.job(job).crashes >= 1)


def test_an_orphan_is_adopted(store, supervise):
    job = create(store)
    jobs.start(store, store.job(job))
    with supervise():
        wait_until(lambda: store.job(job).attempt == 2)
    assert store.job(job).crashes == 0


def test_of_two_supervisors_one_works(store, supervise):
    job = create(store)
    with supervise() as one, supervise() as other:
        wait_until(lambda: store.job(job).status == "running")
        for supervisor in (one, other):
            wait_for_ticks(supervisor)
        assert [len(one._running), len(other._running)].count(1) == 1
        assert store.job(job).attempt == 1
    assert LeaseStore(store.database).holder() is None


def test_supervision_goes_on_after_the_database_was_away(store, supervise, monkeypatch):
    real, failures = JobStore.next_job, []

    def failing_next_job(self, status, **kind):
        if len(failures) < 3:
            failures.append(1)
            raise NotReady("The database does not answer")
        return real(self, status, **kind)

    monkeypatch.setattr(JobStore, "next_job", failing_next_job)
    job = create(store)
    with supervise():
        wait_until(lambda: store.job(job).status == "running")


def test_saved_states_of_ended_jobs_are_removed(settings, store, supervise, stand_in):
    job = create(store)
    settings.jobs_dir.mkdir(parents=True)
    for name in (f"{job}.pt", "ended.pt"):
        (settings.jobs_dir / name).write_text("")
    stand_in.code = CRASH_COMMAND
    with supervise():
        wait_until(lambda: not (settings.jobs_dir / "ended.pt").exists())
    assert (settings.jobs_dir / f"{job}.pt").exists()


def test_leftovers_are_removed_at_the_start(settings, store, supervise):
    paused, ended = create(store), create(store)
    jobs.start(store, store.job(paused))
    jobs.pause(store, paused)
    jobs.cancel(store, ended)
    settings.jobs_dir.mkdir(parents=True)
    for job in (paused, ended):
        (settings.jobs_dir / f"{job}.pt").write_text("")
    (settings.state_dir / ".supervisor.1234.tmp").write_text("")
    with supervise():
        wait_until(lambda: not (settings.jobs_dir / f"{ended}.pt").exists())
    assert (settings.jobs_dir / f"{paused}.pt").exists()
    assert not (settings.state_dir / ".supervisor.1234.tmp").exists()


def test_a_long_queue_keeps_all_its_saved_states(settings, store, supervise):
    ids = [jobs.create(store, Hyperparameters(), max_queued=999, key=None).id for _ in range(120)]
    settings.jobs_dir.mkdir(parents=True)
    for job in ids:
        (settings.jobs_dir / f"{job}.pt").write_text("")
    with supervise():
        wait_until(lambda: store.job(ids[0]).status == "running")
        jobs.cancel(store, ids[0])
        wait_until(lambda: not (settings.jobs_dir / f"{ids[0]}.pt").exists())
    assert all((settings.jobs_dir / f"{job}.pt").exists() for job in ids[1:])


def test_a_database_that_is_gone_is_mended(settings, store, supervise):
    job = create(store)
    with supervise():
        wait_until(
            lambda: store.job(job).status == "running" and store.database.backup.copy.exists()
        )
        (settings.state_dir / "mynet.db").unlink()
        wait_until(lambda: (settings.state_dir / "mynet.db").exists())
        wait_until(lambda: store.job(job).status == "running")


def test_where_the_lease_may_have_lapsed_the_processes_end(supervise, monkeypatch):
    supervisor, end_calls = supervise(), []
    monkeypatch.setattr(supervisor, "_end_processes", lambda: end_calls.append(True))

    def raise_not_ready():
        raise NotReady("The database does not answer.")

    supervisor.stop()
    assert supervisor.lease.acquire()
    supervisor._try(raise_not_ready)
    assert not end_calls, "it was renewed just now"
    monkeypatch.setattr("app.train.supervisor.lease.SAFETY_MARGIN", LEASE_SECONDS)
    supervisor._try(raise_not_ready)
    assert end_calls
    supervisor.lease.release()


def test_the_end_does_not_wait_for_a_database_that_hangs(supervise, monkeypatch, caplog):
    call_started, release = threading.Event(), threading.Event()

    def hang(_):
        call_started.set()
        release.wait()

    with monkeypatch.context() as patch:
        patch.setattr(Lease, "acquire", hang)
        with supervise(end=0.1) as ending:
            assert call_started.wait(120)
        assert ending._thread.is_alive()
        assert "the next one requeues its jobs" in caplog.text
    release.set()
    ending._thread.join()


def test_old_jobs_are_deleted_if_the_operator_wants_it(settings, store, stand_in):
    job, new = create(store), create(store)
    for ended in (job, new):
        jobs.cancel(store, ended)
    store.change_job(job, values={"finished_at": now() - timedelta(days=3)})
    keeping = Supervisor(settings, store.database, start=stand_in)
    keeping._clean_up()
    assert store.job(job)
    some_days = settings.model_copy(update={"keep_jobs_days": 2})
    deleting = Supervisor(some_days, store.database, start=stand_in)
    deleting._clean_up()
    assert store.job(job) is None
    assert store.job(new)


@pytest.mark.parametrize("step", ["_clean_up", "_delete_finished"])  # the latter after each job
def test_files_that_could_not_be_deleted_are_deleted_soon(settings, supervise, monkeypatch, step):
    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    settings.jobs_dir.mkdir(parents=True)
    left_file = settings.jobs_dir / "0123456789abcdef.pt"
    left_file.touch()
    supervisor = supervise()
    supervisor._clean_up_at = math.inf if step == "_delete_finished" else 0.0
    with monkeypatch.context() as patch:
        patch.setattr("app.train.jobs.files.delete_finished", fail)
        supervisor._try(getattr(supervisor, step))
    supervisor._clean_up()
    assert left_file.exists(), "not at once"
    soon = time.monotonic() + CLEAN_UP_RETRY_INTERVAL
    monkeypatch.setattr(time, "monotonic", lambda: soon)
    supervisor._clean_up()
    assert not left_file.exists()


def test_many_old_events_are_forgotten_bit_by_bit(supervise, monkeypatch):
    calls, has_more = [], iter([True, True, False])
    supervisor = supervise()
    monkeypatch.setattr(
        supervisor.job_store, "delete_old_events", lambda _: calls.append(True) or next(has_more)
    )
    for tick in range(1, 5):
        supervisor._clean_up()
        assert len(calls) == min(tick, 3), "one bit in each turn, until all are gone"
