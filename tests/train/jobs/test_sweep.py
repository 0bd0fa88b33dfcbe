"""The life of a sweep: how it ends, which job is its best, and which versions it protects."""

import pytest

from app.database.sweeps import SweepStore
from app.torch_net import MyNet, weights_of
from app.train.jobs import job as jobs
from app.train.jobs import sweep
from app.train.jobs.fenced_writer import FencedWriter
from app.train.jobs.sweep_grid import Grid
from app.train.supervisor.supervisor import Supervisor
from app.versions import checkpoint
from app.versions.retention import delete_old_versions
from tests.postgres import ALL_DATABASES
from tests.train.supervisor.test_supervisor import wait_until

DATABASES = ALL_DATABASES


@pytest.fixture
def sweeps(database):
    return SweepStore(database)


def create(sweeps, **fields):
    return sweep.create(sweeps, Grid(**{"seed": [1, 2], **fields}), max_queued=9, key=None)


@pytest.fixture
def trained(sweeps, store, registry):
    """A sweep whose jobs ended with these accuracies and losses, each with a version."""

    def trained(*scores):
        row = create(sweeps, seed=[*range(len(scores))])
        for job, (accuracy, loss) in zip(sweeps.jobs(row.id), scores, strict=True):
            writer = FencedWriter(store, job.id, jobs.start(store, store.job(job.id)))
            state_dict = weights_of(MyNet())
            card_fields = {"job": job.id, "weights_digest": checkpoint.digest(state_dict)}
            version = registry.save(state_dict, registry.card(1).model_copy(update=card_fields))
            writer.record("epoch", {}, epochs=[{"epoch": 0, "test_loss": loss}])
            result = {"version": version, "test_accuracy": accuracy, "promoted": False}
            writer.succeed({**result, "reason": "never"})
        return row

    return trained


def test_create_with_a_known_key_returns_the_first_sweep(sweeps, monkeypatch):
    grid = Grid(seed=[1, 2])
    first = sweep.create(sweeps, grid, max_queued=9, key="k")
    lookups = [None, first]  # the second request read before the first was stored
    monkeypatch.setattr(sweeps, "by_key", lambda _: lookups.pop(0))
    assert sweep.create(sweeps, grid, max_queued=9, key="k").id == first.id
    assert len(sweeps.sweeps()) == 1


def test_create_with_a_known_key_compares_what_was_asked(sweeps):
    first = sweep.create(sweeps, Grid(seed=[1, 2]), max_queued=9, key="k")
    same = sweep.create(sweeps, Grid(seed=[1, 2], promote="never"), max_queued=9, key="k")
    assert same.id == first.id


def test_end_finished_names_the_best_by_accuracy_then_loss_then_age(trained, sweeps, registry):
    row = trained((0.5, 0.1), (0.9, 0.4), (0.9, 0.3), (0.9, 0.3))
    sweep.end_finished(sweeps)
    ended = sweep.get(sweeps, row.id)
    assert (ended.status, ended.best) == ("succeeded", sweeps.jobs(row.id)[2].id)
    assert ended.finished_at is not None
    assert registry.history() == [1], "a sweep promotes nothing"


def test_end_finished_changes_an_ended_sweep_no_more(trained, sweeps):
    row = trained((0.9, 0.1))
    sweep.end_finished(sweeps)
    first = sweep.get(sweeps, row.id).finished_at
    sweep.end_finished(sweeps)
    assert sweep.get(sweeps, row.id).finished_at == first


def test_end_finished_leaves_a_sweep_with_an_unfinished_job(sweeps, store):
    row = create(sweeps)
    jobs.cancel(store, sweeps.jobs(row.id)[0].id)
    sweep.end_finished(sweeps)
    assert sweep.get(sweeps, row.id).status == "running"


def test_sweep_without_a_version_fails_unless_all_jobs_were_cancelled(sweeps, store):
    failed, cancelled = create(sweeps), create(sweeps)
    for row in (failed, cancelled):
        for job in sweeps.jobs(row.id):
            jobs.cancel(store, job.id)
    store.change_job(sweeps.jobs(failed.id)[0].id, values={"status": "failed"})
    sweep.end_finished(sweeps)
    assert sweep.get(sweeps, failed.id).status == "failed"
    assert sweep.get(sweeps, failed.id).error["code"] == "no_version"
    assert sweep.get(sweeps, cancelled.id).status == "cancelled"


def test_cancel_whose_process_died_is_finished_by_the_supervisor(
    supervise,
    sweeps,
    registry,  # noqa: ARG001
    monkeypatch,
):
    monkeypatch.setattr(Supervisor, "_start_next", lambda _: None)
    row = create(sweeps)
    sweeps.change(row.id, values={"status": "cancelled"})
    with supervise():
        wait_until(lambda: sweep.get(sweeps, row.id).finished_at)
    assert {job.status for job in sweeps.jobs(row.id)} == {"cancelled"}


def test_sweep_whose_last_job_was_cancelled_is_ended_by_the_supervisor(
    supervise,
    sweeps,
    store,
    registry,  # noqa: ARG001
    monkeypatch,
):
    monkeypatch.setattr(Supervisor, "_start_next", lambda _: None)
    row = create(sweeps)
    for job in sweeps.jobs(row.id):
        jobs.cancel(store, job.id)
    with supervise():
        wait_until(lambda: sweep.get(sweeps, row.id).finished_at)
    assert sweep.get(sweeps, row.id).status == "cancelled"


def test_versions_of_a_running_sweep_stay_and_afterwards_its_best(trained, registry, sweeps):
    trained((0.9, 0.1), (0.8, 0.1), (0.7, 0.1))
    delete_old_versions(registry, sweeps, keep_versions=1)
    assert registry.versions() == [1, 2, 3, 4]
    sweep.end_finished(sweeps)
    delete_old_versions(registry, sweeps, keep_versions=1)
    assert registry.versions() == [1, 2, 4]
