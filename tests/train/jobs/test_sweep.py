"""The end of a sweep, where its process died at any line; and which versions stay."""

import os
import subprocess

import pytest

from app.database.sweeps import Sweeps
from app.errors import Conflict
from app.net import MyNet
from app.train.jobs import job as jobs
from app.train.jobs import sweep
from app.train.jobs.assignment import SweepAssignment
from app.train.jobs.sweep_grid import Grid
from app.train.supervisor.supervisor import Supervisor
from app.train.supervisor.sweep_finisher import SweepFinisher
from app.train.worker.finish_sweep import finish_sweep
from app.versions import checkpoint
from app.versions.registry import Registry
from app.versions.retention import delete_old_versions
from tests.postgres import ALL_DATABASES
from tests.train.supervisor.test_supervisor import wait_until

DATABASES = ALL_DATABASES


class Killed(BaseException):
    """Stands for SIGKILL: nothing that follows is done."""


@pytest.fixture
def sweeps(store):
    return Sweeps(store)


def create(sweeps, **fields):
    grid = Grid(**{"seed": [1, 2], "promote": "always", **fields})
    return sweep.create(sweeps, grid, max_queued=9, key=None)


@pytest.fixture
def ended(sweeps, registry):
    """A sweep whose jobs ended with these accuracies and losses, each with a version."""

    def ended(*scores, weights=None, **fields):
        row = create(sweeps, seed=[*range(len(scores))], **fields)
        for job, (accuracy, loss) in zip(sweeps.jobs(row.id), scores, strict=True):
            attempt = jobs.start(sweeps.store, sweeps.store.job(job.id))
            state_dict = weights or MyNet().state_dict()
            card_fields = {"job": job.id, "weights_digest": checkpoint.digest(state_dict)}
            version = registry.save(state_dict, registry.card(1).model_copy(update=card_fields))
            epochs = [{"epoch": 0, "test_loss": loss}]
            jobs.record(sweeps.store, job.id, attempt, "epoch", {}, epochs=epochs)
            result = {"version": version, "test_accuracy": accuracy, "promoted": False}
            jobs.succeed(sweeps.store, job.id, attempt, {**result, "reason": "never"})
        return row

    return ended


@pytest.fixture
def end(settings, sweeps, registry, small_dataset):  # noqa: ARG001
    def end(row):
        finish_sweep(SweepAssignment(settings=settings, sweep_id=row.id), sweeps, registry)
        return sweep.get(sweeps, row.id)

    return end


def test_of_two_requests_with_one_key_the_second_gets_the_sweep_of_the_first(sweeps, monkeypatch):
    grid = Grid(seed=[1, 2])
    first = sweep.create(sweeps, grid, max_queued=9, key="k")
    lookups = [None, first]  # the second looked before the first was kept
    monkeypatch.setattr(sweeps, "by_key", lambda _: lookups.pop(0))
    assert sweep.create(sweeps, grid, max_queued=9, key="k").id == first.id
    assert len(sweeps.all()) == 1


def test_the_best_goes_live_by_accuracy_then_loss_then_age(ended, end, registry):
    done = end(ended((0.5, 0.1), (0.9, 0.4), (0.9, 0.3), (0.9, 0.3)))
    assert (done.status, done.result["version"], done.result["promoted"]) == ("succeeded", 4, True)
    assert registry.history() == [4, 1]


def test_never_is_kept(ended, end, registry):
    done = end(ended((0.9, 0.1), promote="never"))
    assert (done.status, done.result["promoted"], registry.current()) == ("succeeded", False, 1)


@pytest.mark.parametrize(
    "crash_point", ["begin_finish", "promote before", "promote after", "succeed"]
)
def test_wherever_it_is_killed_the_best_goes_live_once(
    ended, end, registry, monkeypatch, crash_point
):
    row = ended((0.9, 0.1), (0.8, 0.1))
    real = Registry.promote

    def raise_killed(self=None, *args, **kwargs):
        if crash_point == "promote after":
            real(self, *args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        if crash_point.startswith("promote"):
            patch.setattr(Registry, "promote", raise_killed)
        else:
            patch.setattr(sweep, crash_point, raise_killed)
        end(row)
    done = end(row)
    assert (done.status, done.result["version"], done.result["promoted"]) == ("succeeded", 2, True)
    assert registry.history() == [2, 1]
    assert end(row).finished_at == done.finished_at, "what has ended has ended"


def test_a_newer_promotion_holds_after_a_kill(ended, end, registry, monkeypatch):
    row = ended((0.9, 0.1), (0.8, 0.1))

    def raise_killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(sweep, "succeed", raise_killed)
        end(row)
    registry.promote(3)
    assert end(row).result["promoted"] is True
    assert registry.history() == [3, 2, 1], "it was live, and is not put over the newer one"


def test_a_best_that_was_deleted_gives_way_to_the_next(ended, end, registry):
    row = ended((0.9, 0.1), (0.8, 0.1))
    registry.delete(2)
    assert end(row).result["version"] == 3
    other = ended((0.9, 0.1))
    registry.delete(4)
    assert end(other).error["code"] == "no_version"


def test_while_it_goes_live_it_is_not_cancelled(ended, sweeps):
    row = ended((0.9, 0.1))
    sweep.begin_finish(sweeps, row.id, 1, {})
    with pytest.raises(Conflict, match="going live"):
        sweep.cancel(sweeps, row.id)


def test_what_is_cancelled_never_goes_live(ended, end, sweeps, registry):
    row = ended((0.9, 0.1))
    sweep.cancel(sweeps, row.id)
    assert end(row).status == "cancelled"
    with pytest.raises(sweep.Superseded):
        sweep.begin_finish(sweeps, row.id, 1, {})
    assert registry.current() == 1


def test_too_many_deaths_fail_it(ended, sweeps):
    row = ended((0.9, 0.1))
    for _ in range(sweep.MAX_CRASHES):
        assert sweep.get(sweeps, row.id).status == "running"
        sweep.record_crash(sweeps, row.id, "It died.")
    assert sweep.get(sweeps, row.id).error["code"] == "process_died"


@pytest.mark.parametrize(("exit_code", "crashes"), [(os.EX_IOERR, 0), (1, 1), (-9, 1)])
def test_what_is_away_is_no_death(ended, sweeps, settings, store, exit_code, crashes):
    row = ended((0.9, 0.1))
    process = subprocess.Popen(["sh", "-c", "kill -9 $$" if exit_code < 0 else f"exit {exit_code}"])
    process.wait()
    finisher = SweepFinisher(settings, store)
    finisher.process, finisher._sweep_id = process, row.id
    finisher.tick()
    assert finisher.process is None, "not at once again"
    assert sweep.get(sweeps, row.id).crashes == crashes


def test_versions_stay_until_the_end_and_the_best_beyond_it(ended, end, registry, sweeps):
    row = ended((0.9, 0.1), (0.8, 0.1), (0.7, 0.1), promote="never")
    delete_old_versions(registry, sweeps, keep_versions=1)
    assert registry.versions() == [1, 2, 3, 4]
    end(row)
    delete_old_versions(registry, sweeps, keep_versions=1)
    assert registry.versions() == [1, 2, 4]


def test_the_supervisor_ends_what_is_left(supervise, sweeps, registry, monkeypatch):  # noqa: ARG001
    monkeypatch.setattr(Supervisor, "_start_next", lambda _: None)
    cancelled, half_cancelled = create(sweeps), create(sweeps)
    for job in sweeps.jobs(cancelled.id):
        jobs.cancel(sweeps.store, job.id)
    sweeps.change(
        half_cancelled.id, values={"status": "cancelled"}
    )  # and then its request was killed
    with supervise():
        wait_until(
            lambda: all(
                sweep.get(sweeps, row.id).finished_at for row in (cancelled, half_cancelled)
            )
        )
    assert sweep.get(sweeps, cancelled.id).status == "cancelled"
    assert {job.status for job in sweeps.jobs(half_cancelled.id)} == {"cancelled"}
