"""Sweeps and the jobs that belong to them, in the database.

A change of a sweep names the state that it expects, so that only one of two concurrent writers
succeeds. `app.train.jobs.sweep` defines which changes are allowed.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, exists, select, union, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, load_only

from app.database.database import Database
from app.database.jobs import JobStore
from app.database.tables import Base, Job, Sweep, SweepJob

# The columns that a sweep shows of its jobs. It leaves out the epochs, which may be many.
JOB_COLUMNS: Final = (Job.id, Job.number, Job.status, Job.hyperparameters, Job.progress, Job.result)


class SweepStore:
    """The sweeps in a database. Every call raises NotReady if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self.database, self.job_store = database, JobStore(database)

    def add(
        self,
        sweep: Sweep,
        jobs: Sequence[Job],
        rows: Iterable[Base],
        *,
        max_queued: int,
        check: Callable[[Session], None],
    ) -> Sweep | None:
        """Store a new sweep with its jobs and their first rows, all or nothing, and return it.

        Returns the sweep with the same idempotency key if there is one, and None if `max_queued`
        jobs and sweeps wait in its jobs' state already. `check` runs in the same transaction, and
        may raise.
        """
        sweep_jobs = [SweepJob(job_id=job.id, sweep_id=sweep.id) for job in jobs]
        try:
            is_stored = self.job_store.add(
                jobs[0].status,
                [sweep, *jobs],
                [*sweep_jobs, *rows],
                max_queued=max_queued,
                check=check,
            )
        except IntegrityError:
            if sweep.idempotency_key is None:
                raise
        else:
            return sweep if is_stored else None
        # If the sweep with this key has just been deleted, its key is free again.
        existing = self.by_key(sweep.idempotency_key)
        return existing or self.add(sweep, jobs, rows, max_queued=max_queued, check=check)

    def sweep(self, sweep_id: str) -> Sweep | None:
        if "\0" in sweep_id:  # PostgreSQL's driver refuses such a parameter
            return None
        with self.database.read() as session:
            return session.scalar(select(Sweep).where(Sweep.id == sweep_id))

    def by_key(self, key: str) -> Sweep | None:
        with self.database.read() as session:
            return session.scalar(select(Sweep).where(Sweep.idempotency_key == key))

    def sweeps(self, before: int | None = None, limit: int = 100) -> Sequence[Sweep]:
        """List sweeps, newest first; `before` is the number of the last one of the page before."""
        query = select(Sweep).order_by(Sweep.number.desc()).limit(limit)
        if before is not None:
            query = query.where(Sweep.number < before)
        with self.database.read() as session:
            return session.scalars(query).all()

    def unfinished(self) -> Sequence[Sweep]:
        """List the sweeps that have not ended, oldest first."""
        query = select(Sweep).where(Sweep.finished_at.is_(None))
        with self.database.read() as session:
            return session.scalars(query.order_by(Sweep.number)).all()

    def jobs(self, sweep_id: str) -> Sequence[Job]:
        """List a sweep's jobs, oldest first, without their epochs."""
        return self.jobs_by_sweep([sweep_id])[sweep_id]

    def jobs_by_sweep(self, sweep_ids: Sequence[str]) -> dict[str, list[Job]]:
        """List the jobs of each of these sweeps, oldest first, without their epochs."""
        query = select(SweepJob.sweep_id, Job).join(Job).where(SweepJob.sweep_id.in_(sweep_ids))
        jobs: dict[str, list[Job]] = {sweep_id: [] for sweep_id in sweep_ids}
        with self.database.read() as session:
            rows = query.order_by(Job.number).options(load_only(*JOB_COLUMNS, raiseload=True))
            for sweep_id, job in session.execute(rows):
                jobs[sweep_id].append(job)
        return jobs

    def test_losses(self, job_ids: Sequence[str]) -> dict[str, float]:
        """Return the test loss after the last epoch of each of these jobs that finished one."""
        query = select(Job.id, Job.epochs).where(Job.id.in_(job_ids))
        with self.database.read() as session:
            return {
                job_id: epochs[-1]["test_loss"]
                for job_id, epochs in session.execute(query)
                if epochs
            }

    def have_jobs_ended(self, sweep_id: str) -> bool:
        """Return whether all jobs of a sweep have ended."""
        unfinished = select(Job.id).join(SweepJob)
        query = exists(unfinished.where(SweepJob.sweep_id == sweep_id, Job.finished_at.is_(None)))
        with self.database.read() as session:
            return not session.scalar(select(query))

    def sweep_ids_by_job(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Return the sweep of each of these jobs that belongs to one."""
        query = select(SweepJob.job_id, SweepJob.sweep_id).where(SweepJob.job_id.in_(job_ids))
        with self.database.read() as session:
            return {job_id: sweep_id for job_id, sweep_id in session.execute(query)}

    def protected_jobs(self, max_sweeps: int) -> set[str]:
        """List the jobs whose versions must not be deleted to make room.

        They are all jobs of unfinished sweeps, and the best jobs of the newest `max_sweeps`
        finished ones.
        """
        running = select(SweepJob.job_id).join(Sweep).where(Sweep.finished_at.is_(None))
        newest = select(Sweep.best).where(Sweep.best.is_not(None))
        best = newest.order_by(Sweep.number.desc()).limit(max_sweeps).subquery()
        with self.database.read() as session:
            return {*session.scalars(union(running, select(best.c.best)))}

    def old_sweeps(self, before: datetime, limit: int) -> Sequence[str]:
        """List sweeps that finished before then, oldest first."""
        query = select(Sweep.id).where(Sweep.finished_at < before)
        with self.database.read() as session:
            return session.scalars(query.order_by(Sweep.number).limit(limit)).all()

    def delete(self, sweep_id: str) -> None:
        """Delete a sweep with its jobs, which must have ended."""
        job_ids = [job.id for job in self.jobs(sweep_id)]
        self.job_store.delete_jobs(job_ids, delete(Sweep).where(Sweep.id == sweep_id))

    def change(self, sweep_id: str, *where: ColumnElement[bool], values: dict[str, Any]) -> bool:
        """Change a sweep if it is as `where` says, and return whether it changed."""
        change = update(Sweep).where(Sweep.id == sweep_id, *where).values(**values)
        return self.database.write(
            lambda session: bool(session.execute(change).rowcount),  # type: ignore[attr-defined]
            vital=True,
        )
