"""Training jobs and their events, in the database.

A change of a job names the state that it expects, so that only one of two concurrent writers
succeeds. `app.train.jobs.job` defines which changes are allowed.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Delete, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database.database import Database
from app.database.tables import (
    Base,
    Delivery,
    Event,
    InitialWeights,
    Job,
    SweepJob,
    Trace,
    Webhook,
    now,
)

# The longest time in seconds that a job waits for its next attempt.
MAX_RETRY_WAIT: Final = 60.0
# Events that one transaction deletes. A small batch keeps each transaction short.
DELETE_BATCH_SIZE: Final = 10_000
IS_IN_SWEEP: Final = select(SweepJob.job_id).where(SweepJob.job_id == Job.id).exists()


def _no_check(_: Session) -> None:
    pass


class JobStore:
    """The jobs in a database. Every call raises NotReady if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add_job(
        self, job: Job, *rows: Base, max_queued: int, check: Callable[[Session], None] = _no_check
    ) -> Job | None:
        """Store a new job with its first rows, and return it.

        Returns the job with the same idempotency key if there is one, and None if `max_queued`
        jobs wait in its state already.
        """
        try:
            added = self.add(job.status, [job], rows, max_queued=max_queued, check=check)
            return job if added else None
        except IntegrityError:
            if job.idempotency_key is None:
                raise
        # If the job with this key has just been deleted, its key is free again.
        existing = self.job_by_key(job.idempotency_key)
        return existing or self.add_job(job, *rows, max_queued=max_queued, check=check)

    def add(
        self,
        status: str,
        new: Iterable[Base],
        rows: Iterable[Base],
        *,
        max_queued: int,
        check: Callable[[Session], None] = _no_check,
    ) -> bool:
        """Store the new rows, then the rows that refer to them, and return whether it did.

        Stores nothing if `max_queued` jobs wait in this state already; the jobs of a sweep count as
        one. `check` runs in the same transaction, and may raise.
        """

        def work(session: Session) -> bool:
            check(session)
            if _count_waiting(session, status) >= max_queued:
                return False
            session.add_all(new)
            session.flush()
            session.add_all(rows)
            return True

        return self.database.write_exclusively(work)

    def count_waiting(self, status: str) -> int:
        """Count the jobs that wait in this state; those of a sweep count as one."""
        with self.database.read() as session:
            return _count_waiting(session, status)

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

    def initial_weights(self, job_id: str) -> bytes | None:
        """Return the weights that a job begins with, or None if it has none or has ended."""
        with self.database.read() as session:
            row = session.get(InitialWeights, job_id)
        return row.content if row else None

    def delete_initial_weights(self) -> None:
        """Delete the weights that ended jobs began with."""
        ended = select(Job.id).where(Job.finished_at.is_not(None))
        with self.database.read() as session:
            found = session.scalar(
                select(InitialWeights.job_id).where(InitialWeights.job_id.in_(ended)).limit(1)
            )
        if found is not None:  # a backup of the database follows each change
            deletion = delete(InitialWeights).where(InitialWeights.job_id.in_(ended))
            self.database.write(lambda session: session.execute(deletion))

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

    def new_job_ids(self, known_ids: Collection[str], page: int = 100) -> list[str]:
        """List the jobs that were added after all of `known_ids`, oldest first.

        Numbers do not tell which jobs are new: SQLite uses that of the last job again if the job is
        deleted.
        """
        new: list[str] = []
        query = select(Job.id).order_by(Job.number.desc()).limit(page)
        with self.database.read() as session:
            while ids := session.scalars(query.offset(len(new))).all():
                unknown = [job_id for job_id in ids if job_id not in known_ids]
                new += unknown
                if len(unknown) < page:
                    break
        return new[::-1]

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

    def trained_jobs(self, limit: int) -> Sequence[Job]:
        """List the jobs that ended last and made a version, newest first."""
        query = select(Job).where(Job.finished_at.is_not(None), Job.result.is_not(None))
        with self.database.read() as session:
            return session.scalars(query.order_by(Job.finished_at.desc()).limit(limit)).all()

    def next_job(self, status: str, *, in_sweep: bool | None = None) -> Job | None:
        """Return the oldest job in this state whose waiting time is over.

        `in_sweep` selects the jobs of sweeps, or the others. A waiting time beyond `MAX_RETRY_WAIT`
        means that the clock was put back: it is ignored.
        """
        horizon = now() + timedelta(seconds=MAX_RETRY_WAIT)
        is_due = or_(Job.not_before <= now(), Job.not_before > horizon)
        query = select(Job).where(Job.status == status, is_due)
        if in_sweep is not None:
            query = query.where(IS_IN_SWEEP if in_sweep else ~IS_IN_SWEEP)
        with self.database.read() as session:
            return session.scalar(query.order_by(Job.number).limit(1))

    def change_job(
        self,
        job_id: str,
        *where: ColumnElement[bool],
        values: dict[str, Any],
        events: Sequence[tuple[str, dict[str, Any]]] = (),
        then: Callable[[Session, str], None] | None = None,
        vital: bool = False,
    ) -> bool:
        """Change a job if it is as `where` says, add its events, and return whether it changed.

        An event is a pair of kind and data. `then` runs in the same transaction if the job changed,
        with its id. A `vital` change may use the room of the ballast file.
        """
        change = update(Job).where(Job.id == job_id, *where).values(**values)

        def work(session: Session) -> bool:
            is_changed = _count(session.execute(change)) == 1
            if is_changed:
                for kind, data in events:
                    session.add(Event(job_id=job_id, at=now(), kind=kind, data=data))
                if then:
                    then(session, job_id)
            return is_changed

        return self.database.write(work, vital=vital)

    def events(
        self,
        job_id: str,
        after: int = 0,
        kind: str | Collection[str] | None = None,
        limit: int = 1000,
    ) -> Sequence[Event]:
        """List a job's events of this kind, of these kinds, or of all kinds, oldest first."""
        query = select(Event).where(Event.job_id == job_id, Event.number > after)
        if kind is not None:
            query = query.where(Event.kind.in_([kind] if isinstance(kind, str) else kind))
        with self.database.read() as session:
            return session.scalars(query.order_by(Event.number).limit(limit)).all()

    def delete_old_events(self, before: datetime) -> bool:
        """Delete a batch of the progress events of jobs that finished before then.

        Returns whether there may be more. Other events, such as the end of a job, are kept.
        """
        finished_jobs = select(Job.id).where(Job.finished_at < before)
        return self._delete_events(
            Event.kind.in_(("phase", "batch", "epoch")), Event.job_id.in_(finished_jobs)
        )

    def old_jobs(self, before: datetime, limit: int) -> Sequence[str]:
        """List jobs that finished before then and belong to no sweep, oldest first."""
        query = select(Job.id).where(Job.finished_at < before, ~IS_IN_SWEEP)
        with self.database.read() as session:
            return session.scalars(query.order_by(Job.number).limit(limit)).all()

    def delete_jobs(self, job_ids: Sequence[str], *more: Delete) -> None:
        """Delete final jobs with all that belongs to them; then execute `more` deletions.

        Their events are deleted in batches first. A crash in between leaves the jobs without some
        of them, and the next call deletes the rest.
        """
        while self._delete_events(Event.job_id.in_(job_ids)):
            pass
        tables = (Event, Trace, InitialWeights, SweepJob, Webhook, Delivery)
        columns = (*(table.job_id for table in tables), Job.id)
        deletions = [delete(column.class_).where(column.in_(job_ids)) for column in columns]

        def work(session: Session) -> None:
            for deletion in (*deletions, *more):
                session.execute(deletion)

        self.database.write(work)

    def _delete_events(self, *where: ColumnElement[bool]) -> bool:
        """Delete a batch of events, and return whether there may be more."""
        batch = select(Event.number).where(*where).limit(DELETE_BATCH_SIZE)
        deletion = delete(Event).where(Event.number.in_(batch))
        count = self.database.write(lambda session: _count(session.execute(deletion)))
        return count == DELETE_BATCH_SIZE


def _count_waiting(session: Session, status: str) -> int:
    queue_slot = func.coalesce(SweepJob.sweep_id, Job.id)
    waiting = select(func.count(queue_slot.distinct())).select_from(Job).where(Job.status == status)
    return session.scalar(waiting.outerjoin(SweepJob)) or 0


def _count(result: Any) -> int:
    return int(result.rowcount)
