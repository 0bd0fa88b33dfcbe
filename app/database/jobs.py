"""Training jobs and their events, in the database.

A change of a job names the state that it expects, so that only one of two concurrent writers
succeeds. `app.train.jobs.job` defines which changes are allowed.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database.database import Database
from app.database.tables import Base, Event, Job, SweepJob, Trace, now

# The longest time in seconds that a job waits for its next attempt.
MAX_RETRY_WAIT: Final = 60.0
# Events that one transaction deletes. A small batch keeps each transaction short.
DELETE_BATCH_SIZE: Final = 10_000


class JobStore:
    """The jobs in a database. Every call raises NotReady if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add_job(self, job: Job, *rows: Base, max_queued: int) -> Job | None:
        """Store a new job with its first rows, and return it.

        Returns the job with the same idempotency key if there is one, and None if `max_queued`
        jobs wait in its state already.
        """
        try:
            return job if self.add(job.status, [job], rows, max_queued=max_queued) else None
        except IntegrityError:
            if job.idempotency_key and (existing := self.job_by_key(job.idempotency_key)):
                return existing
            raise

    def add(
        self, status: str, new: Iterable[Base], rows: Iterable[Base], *, max_queued: int
    ) -> bool:
        """Store the new rows, then the rows that refer to them, and return whether it did.

        Stores nothing if `max_queued` jobs wait in this state already; the jobs of a sweep count as
        one.
        """
        queue_slot = func.coalesce(SweepJob.sweep_id, Job.id)
        queued = (
            select(func.count(queue_slot.distinct())).select_from(Job).where(Job.status == status)
        )

        def work(session: Session) -> bool:
            if (session.scalar(queued.outerjoin(SweepJob)) or 0) >= max_queued:
                return False
            session.add_all(new)
            session.flush()
            session.add_all(rows)
            return True

        return self.database.write_exclusively(work)

    def job(self, job_id: str) -> Job | None:
        if "\0" in job_id:  # PostgreSQL's driver refuses such a parameter
            return None
        with self.database.read() as session:
            return session.scalar(select(Job).where(Job.id == job_id))

    def trace_context(self, job_id: str) -> dict[str, str]:
        """Return the trace context of the request that queued a job; empty if it had none."""
        with self.database.read() as session:
            trace = session.get(Trace, job_id)
        return trace.trace_context if trace else {}

    def job_by_key(self, key: str) -> Job | None:
        with self.database.read() as session:
            return session.scalar(select(Job).where(Job.idempotency_key == key))

    def jobs(
        self, status: str | None = None, before: int | None = None, limit: int = 100
    ) -> Sequence[Job]:
        """List jobs, newest first; `before` is the number of the last job of the page before."""
        query = select(Job).order_by(Job.number.desc()).limit(limit)
        if status is not None:
            query = query.where(Job.status == status)
        if before is not None:
            query = query.where(Job.number < before)
        with self.database.read() as session:
            return session.scalars(query).all()

    def jobs_after(self, number: int, limit: int = 100) -> Sequence[Job]:
        """List the jobs that came after this one, oldest first."""
        query = select(Job).where(Job.number > number).order_by(Job.number).limit(limit)
        with self.database.read() as session:
            return session.scalars(query).all()

    def count_jobs(self) -> dict[str, int]:
        """Count jobs by their state."""
        query = select(Job.status, func.count()).group_by(Job.status)
        with self.database.read() as session:
            return {status: number for status, number in session.execute(query)}

    def last_started_job(self) -> Job | None:
        """Return the job that was started last. It may still be running."""
        query = select(Job).where(Job.started_at.is_not(None))
        with self.database.read() as session:
            return session.scalar(query.order_by(Job.started_at.desc()).limit(1))

    def next_job(self, status: str) -> Job | None:
        """Return the oldest job in this state whose waiting time is over.

        A waiting time beyond `MAX_RETRY_WAIT` means that the clock was put back: it is ignored.
        """
        horizon = now() + timedelta(seconds=MAX_RETRY_WAIT)
        is_due = or_(Job.not_before <= now(), Job.not_before > horizon)
        query = select(Job).where(Job.status == status, is_due)
        with self.database.read() as session:
            return session.scalar(query.order_by(Job.number).limit(1))

    def change_job(
        self,
        job_id: str,
        *where: ColumnElement[bool],
        values: dict[str, Any],
        events: Sequence[tuple[str, dict[str, Any]]] = (),
        vital: bool = False,
    ) -> bool:
        """Change a job if it is as `where` says, add its events, and return whether it changed.

        An event is a pair of kind and data. A `vital` change may use the room of the ballast file.
        """
        change = update(Job).where(Job.id == job_id, *where).values(**values)

        def work(session: Session) -> bool:
            is_changed = _count(session.execute(change)) == 1
            for kind, data in events if is_changed else ():
                session.add(Event(job_id=job_id, at=now(), kind=kind, data=data))
            return is_changed

        return self.database.write(work, vital=vital)

    def events(
        self, job_id: str, after: int = 0, kind: str | None = None, limit: int = 1000
    ) -> Sequence[Event]:
        """List a job's events, oldest first."""
        query = select(Event).where(Event.job_id == job_id, Event.number > after)
        if kind is not None:
            query = query.where(Event.kind == kind)
        with self.database.read() as session:
            return session.scalars(query.order_by(Event.number).limit(limit)).all()

    def delete_old_events(self, before: datetime) -> bool:
        """Delete a batch of the progress events of jobs that finished before then.

        Returns whether there may be more. Other events, such as the end of a job, are kept.
        """
        finished_jobs = select(Job.id).where(Job.finished_at < before)
        progress = Event.kind.in_(("batch", "epoch")), Event.job_id.in_(finished_jobs)
        batch = select(Event.number).where(*progress).limit(DELETE_BATCH_SIZE)
        deletion = delete(Event).where(Event.number.in_(batch))
        count = self.database.write(lambda session: _count(session.execute(deletion)))
        return count == DELETE_BATCH_SIZE


def _count(result: Any) -> int:
    return int(result.rowcount)
