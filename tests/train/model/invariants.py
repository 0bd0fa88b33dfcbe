"""What must hold after each transaction, whatever came before it."""

import sqlite3
from collections import defaultdict

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import Delivery, Event, Job, Lease, Sweep, SweepJob
from app.train.jobs.job import TRANSITIONS, Status

COLUMNS = [column.key for column in Job.__table__.columns]
ENDED_SWEEPS = ("succeeded", "failed", "cancelled")


class Invariants:
    """Compares the rows of the database with those before the last transaction."""

    def __init__(self, world):
        self.world, self.jobs, self.events, self.sweeps = world, {}, {}, {}
        self.deleted, self.transitions = set(), 0  # what clients asked to delete
        self.lease, self._version = None, None
        self._connection = sqlite3.connect(
            world.database.engine.url.database, check_same_thread=False
        )

    def check(self):
        if self._has_changed():
            self._check_rows()
        self._check_supervision()

    def _has_changed(self):
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        return version != before

    def close(self):
        self._connection.close()

    def _check_rows(self):
        with Session(self.world.database.engine) as session:
            jobs = {
                job.id: {name: getattr(job, name) for name in COLUMNS}
                for job in session.scalars(select(Job))
            }
            events = defaultdict(list)
            for event in session.scalars(select(Event).order_by(Event.number)):
                events[event.job_id].append((event.kind, event.data))
            sweeps = {sweep.id: sweep for sweep in session.scalars(select(Sweep))}
            members = session.execute(select(SweepJob.sweep_id, SweepJob.job_id)).all()
            messages = session.execute(select(Delivery.job_id, Delivery.event)).all()
            self.lease = session.get(Lease, 1)
        self._check_deletions(jobs, sweeps)
        for job_id, job in jobs.items():
            before = self.jobs.get(job_id)
            new = events[job_id][len(self.events.get(job_id, ())) :]
            if job_id not in self.deleted:
                self._check_step(before, job, new)
                self._check_events(job, events[job_id])
            self._check_fields(job)
            sent = [event for owner, event in messages if owner == job_id]
            assert sent == ([job["status"]] if _has_ended(job) else []), (job_id, sent)
        self._check_sweeps(sweeps, members, jobs)
        self.jobs, self.events, self.sweeps = jobs, dict(events), sweeps

    def _check_supervision(self):
        """One supervisor holds the lease, knows if it may have lost it, and loses no process."""
        sure = [
            service
            for service in self.world.services
            if service.is_running and not service.supervisor.lease.may_have_lapsed()
        ]
        assert len(sure) <= 1, "two supervisors think that they hold the lease"
        for service in sure:
            name = (service.settings.state_dir / "supervisor").read_text()
            assert self.lease, "the lease is lost"
            assert self.lease.holder == name, "another supervisor has taken the lease"
        for process in self.world.live_processes():
            supervisor = process.service.supervisor
            owned = [worker.process for worker in supervisor._running]
            is_ending = process.stop.is_set() or process.is_killed
            assert is_ending or process in [*owned, supervisor.standby.process], "a process is lost"
        assert not self.world.log.unexpected, repr(self.world.log.unexpected[0])

    def _check_deletions(self, jobs, sweeps):
        """No job and no sweep is lost: it ended, and a client deleted it."""
        for job_id in self.jobs.keys() - jobs.keys():
            assert job_id in self.deleted, "a job is lost"
            assert _has_ended(self.jobs[job_id]), "a job was deleted that had not ended"
        for sweep_id in self.sweeps.keys() - sweeps.keys():
            assert sweep_id in self.deleted, "a sweep is lost"

    def _check_step(self, before, job, new_events):
        """A state changes by a row of the table, with its event; what is final stays."""
        statuses = [data for kind, data in new_events if kind == "status"]
        if before is None:
            assert statuses == [{"status": "queued"}]
            assert (job["status"], job["attempt"]) == ("queued", 0)
            return
        if _has_ended(before):
            assert (job, new_events) == (before, []), "a final job changed"
        source, target = before["status"], job["status"]
        if source == target:
            assert statuses == [], "an event without a change of the state"
        else:
            self.transitions += 1
            assert Status(target) in TRANSITIONS[Status(source)], (source, target)
            assert [data["status"] for data in statuses] == [target]
        is_start = (source, target) == ("queued", "running")
        assert job["attempt"] == before["attempt"] + is_start, "`attempt` counts the starts"
        if before["committing"]:
            assert job["committing"], "a version may be stored already"
            assert target not in ("cancelled", "paused")
        self._check_failures(before, job)

    def _check_failures(self, before, job):
        """A failure is counted only if a process of this attempt failed by itself."""
        counts = job["crashes"] + job["errors"] - before["crashes"] - before["errors"]
        if counts > 0 or (job["error"] and not before["error"]):
            assert counts <= 1
            failed = [
                process
                for process in self.world.processes
                if (process.job_id, process.attempt) == (job["id"], job["attempt"])
            ]
            assert not failed or failed[-1].has_failed, "a failure is counted that was none"

    def _check_events(self, job, events):
        """No event comes twice, and none is missing."""
        attempts = [data["attempt"] for kind, data in events if "attempt" in data]
        assert attempts == list(range(1, job["attempt"] + 1))
        for kind in ("batch", "epoch"):
            epochs = [data["epoch"] for name, data in events if name == kind]
            assert epochs == list(range(len(epochs))), (kind, epochs)
        assert [data for kind, data in events if kind == "epoch"] == job["epochs"]
        results = [data for kind, data in events if kind == "result"]
        assert results == ([job["result"]] if job["result"] else [])

    def _check_fields(self, job):
        status = job["status"]
        assert bool(job["finished_at"]) == _has_ended(job)
        assert bool(job["result"]) == (status == "succeeded")
        assert bool(job["error"]) == (status == "failed")
        assert bool(job["phase"]) == (status == "running")
        if job["result"]:
            assert job["result"]["version"] == self.world.versions[job["id"]]

    def _check_sweeps(self, sweeps, members, jobs):
        """A sweep ends after its jobs, as they did; what is final stays."""
        for sweep in sweeps.values():
            own = [jobs[job_id] for sweep_id, job_id in members if sweep_id == sweep.id]
            statuses = {job["status"] for job in own}
            before = self.sweeps.get(sweep.id)
            if before and before.finished_at:
                values = [(row.status, row.best, row.finished_at) for row in (before, sweep)]
                assert values[0] == values[1], "a final sweep changed"
            if before and before.status != sweep.status:
                assert (before.status, sweep.status in ENDED_SWEEPS) == ("running", True)
            if sweep.status == "succeeded":
                assert "succeeded" in statuses
                assert jobs[sweep.best]["result"], "the best job has no version"
            if sweep.status == "failed":
                assert "succeeded" not in statuses
            if sweep.status in ("succeeded", "failed"):
                assert sweep.finished_at and all(map(_has_ended, own))
            if sweep.status == "cancelled" and sweep.finished_at:
                assert all(_has_ended(job) or job["committing"] for job in own)


def _has_ended(job):
    return Status(job["status"]).is_final
