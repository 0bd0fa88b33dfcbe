"""Sweeps in the database: which there are, and which jobs are theirs.

What enters: rows to keep. What leaves: rows. A change of a sweep names the state that it expects,
so that of two writers one is refused. This module does not know which changes make sense: that is
`app.train.jobs.sweep`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, exists, select, union, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import load_only, sessionmaker

from app.database.store import Store
from app.database.tables import Base, Job, Sweep, SweepJob

# What is told of a sweep's jobs; their epochs may be many.
JOB_COLUMNS: Final = (Job.id, Job.number, Job.status, Job.hyperparameters, Job.progress, Job.result)


class Sweeps:
    """The sweeps in a store. Every call raises NotReady as the store's do."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._read = sessionmaker(store.engine, expire_on_commit=False)

    def add(
        self, sweep: Sweep, jobs: Sequence[Job], rows: Iterable[Base], *, max_queued: int
    ) -> Sweep | None:
        """Keep a new sweep with its jobs and their first rows, all or nothing; None if `max_queued`
        wait in their state already.

        Gives the sweep that has the same idempotency key, where there is one.
        """
        members = [SweepJob(job_id=job.id, sweep_id=sweep.id) for job in jobs]
        try:
            is_stored = self.store.add(
                jobs[0].status, [sweep, *jobs], [*members, *rows], max_queued=max_queued
            )
        except IntegrityError:
            if sweep.idempotency_key and (existing := self.by_key(sweep.idempotency_key)):
                return existing
            raise
        return sweep if is_stored else None

    def sweep(self, sweep_id: str) -> Sweep | None:
        if "\0" in sweep_id:  # PostgreSQL would not even be asked for it
            return None
        with self._read() as session:
            return session.scalar(select(Sweep).where(Sweep.id == sweep_id))

    def by_key(self, key: str) -> Sweep | None:
        with self._read() as session:
            return session.scalar(select(Sweep).where(Sweep.idempotency_key == key))

    def all(self, before: int | None = None, limit: int = 100) -> Sequence[Sweep]:
        """List sweeps, newest first; `before` is the number of the last one seen."""
        query = select(Sweep).order_by(Sweep.number.desc()).limit(limit)
        if before is not None:
            query = query.where(Sweep.number < before)
        with self._read() as session:
            return session.scalars(query).all()

    def unfinished(self) -> Sequence[Sweep]:
        """List the sweeps that have not ended, oldest first."""
        with self._read() as session:
            query = select(Sweep).where(Sweep.finished_at.is_(None))
            return session.scalars(query.order_by(Sweep.number)).all()

    def jobs(self, sweep_id: str) -> Sequence[Job]:
        """List a sweep's jobs, oldest first, without their epochs."""
        return self.jobs_of([sweep_id])[sweep_id]

    def jobs_of(self, sweep_ids: Sequence[str]) -> dict[str, list[Job]]:
        """List the jobs of each of these sweeps, oldest first, without their epochs."""
        query = select(SweepJob.sweep_id, Job).join(Job).where(SweepJob.sweep_id.in_(sweep_ids))
        found: dict[str, list[Job]] = {sweep_id: [] for sweep_id in sweep_ids}
        with self._read() as session:
            rows = query.order_by(Job.number).options(load_only(*JOB_COLUMNS, raiseload=True))
            for sweep_id, job in session.execute(rows):
                found[sweep_id].append(job)
        return found

    def has_ended(self, sweep_id: str) -> bool:
        """Return whether all of its jobs have."""
        open_ = select(Job.id).join(SweepJob)
        query = exists(open_.where(SweepJob.sweep_id == sweep_id, Job.finished_at.is_(None)))
        with self._read() as session:
            return not session.scalar(select(query))

    def of_jobs(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Return which sweeps jobs belong to, those that belong to one."""
        query = select(SweepJob.job_id, SweepJob.sweep_id).where(SweepJob.job_id.in_(job_ids))
        with self._read() as session:
            return {job_id: sweep_id for job_id, sweep_id in session.execute(query)}

    def protected_jobs(self, max_sweeps: int) -> set[str]:
        """List the jobs whose versions must not give way: all of the sweeps that have not ended,
        and the best of the newest `max_sweeps` that have.
        """
        running = select(SweepJob.job_id).join(Sweep).where(Sweep.finished_at.is_(None))
        newest = select(Sweep.best).where(Sweep.best.is_not(None))
        best = newest.order_by(Sweep.number.desc()).limit(max_sweeps).subquery()
        with self._read() as session:
            return {*session.scalars(union(running, select(best.c.best)))}

    def change(self, sweep_id: str, *where: ColumnElement[bool], values: dict[str, Any]) -> bool:
        """Change a sweep if it is as `where` says, and say whether it was."""
        change = update(Sweep).where(Sweep.id == sweep_id, *where).values(**values)
        return self.store.write(
            lambda session: bool(session.execute(change).rowcount),  # type: ignore[attr-defined]
            vital=True,
        )
