"""Phases of an attempt: recorded in the job and its events; pause and cancel work in each."""

import pytest

from app.errors import Conflict
from app.train.jobs import job as jobs
from app.train.jobs.fenced_writer import FencedWriter, Superseded
from app.train.jobs.phase import Phase
from app.train.recipes import drawn_images
from app.train.worker import trainer
from tests.train.conftest import events

STATUS_AFTER = {jobs.cancel: "cancelled", jobs.pause: "paused"}


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    monkeypatch.setattr(drawn_images, "SYNTHETIC_DIGITS", 30)
    monkeypatch.setattr(drawn_images, "ALLOGRAPHS", 10)
    monkeypatch.setattr(drawn_images, "NEGATIVES", 20)
    monkeypatch.setattr(trainer, "DRAWN_INTERVAL", 0.0)


def start_robust(start):
    return start(recipe="robust", epochs=2, batch_size=1000, promote="never")


def test_a_job_passes_through_all_phases(start, store):
    run = start_robust(start)
    assert store.job(run.job.id).phase == {"name": "starting"}
    run.run()
    recorded = events(store, run.job.id, "phase")
    names = [event["name"] for event in recorded]
    assert [*dict.fromkeys(names)] == [*Phase][1:]
    drawn = [(event["done"], event["total"]) for event in recorded if event["name"] == "drawing"]
    assert drawn == [(count, 60) for count in range(1, 61)]
    first = names.index("training")
    assert "drawing" in names[first:], "the second epoch draws what the first did not need"
    assert store.job(run.job.id).phase is None


def test_pictures_are_not_recorded_one_by_one(start, store, monkeypatch):
    monkeypatch.setattr(trainer, "DRAWN_INTERVAL", 60.0)
    run = start_robust(start)
    run.run()
    names = [event["name"] for event in events(store, run.job.id, "phase")]
    assert names == ["loading", "training", "evaluating", "storing"]


def act_in(monkeypatch, phase, act):
    """Do something right after the first time that a phase was recorded."""
    real, done = FencedWriter.begin_phase, []

    def begin_phase(self, name, *counts):
        real(self, name, *counts)
        if name == phase and not done:
            done.append(True)
            act(self.store, self.job_id)

    monkeypatch.setattr(FencedWriter, "begin_phase", begin_phase)


@pytest.mark.parametrize("action", [jobs.cancel, jobs.pause])
@pytest.mark.parametrize("phase", [Phase.LOADING, Phase.DRAWING, Phase.TRAINING, Phase.EVALUATING])
def test_a_client_stops_a_job_in_each_phase(start, store, monkeypatch, registry, phase, action):
    run, versions = start_robust(start), registry.versions()
    with monkeypatch.context() as patch:
        act_in(patch, phase, action)
        with pytest.raises(Superseded):
            run.run()
    job = store.job(run.job.id)
    assert (job.status, job.phase) == (STATUS_AFTER[action], None)
    assert registry.versions() == versions
    if action is jobs.pause:
        resume_to_the_end(start, store, job)


def resume_to_the_end(start, store, job):
    jobs.resume(store, job.id)
    start(job.id).run()
    assert store.job(job.id).status == "succeeded"


@pytest.mark.parametrize("action", [jobs.cancel, jobs.pause])
def test_a_job_that_stores_its_version_refuses_with_a_reason(start, store, monkeypatch, action):
    refusals = []

    def act(store, job_id):
        with pytest.raises(Conflict) as refusal:
            action(store, job_id)
        refusals.append(str(refusal.value))

    act_in(monkeypatch, Phase.STORING, act)
    run = start_robust(start)
    run.run()
    (refusal,) = refusals
    assert f"is storing its version and cannot be {STATUS_AFTER[action]}" in refusal
    assert store.job(run.job.id).status == "succeeded"


@pytest.mark.parametrize("action", [jobs.cancel, jobs.pause])
def test_a_client_stops_a_starting_job(start, store, action):
    run = start_robust(start)
    action(store, run.job.id)
    with pytest.raises(Superseded):
        run.run()
    job = store.job(run.job.id)
    assert (job.status, job.phase) == (STATUS_AFTER[action], None)
    assert events(store, job.id, "phase") == []
    if action is jobs.pause:
        resume_to_the_end(start, store, job)
