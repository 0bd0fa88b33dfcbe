"""Jobs, their events, and the lease of the one supervisor: a database.

What enters: values to keep. What leaves: rows. A change of a job names the state that it expects,
so that of two writers one is refused. This module does not know which changes make sense: that is
`app.train.jobs.job`.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from app.database.backup import Backup, BallastFile
from app.database.engine import open_engine
from app.database.schema import Schema
from app.database.sqlite import Damaged, DiskFull
from app.database.tables import Base, Event, Job, Lease, SweepJob, Trace, now
from app.database.time_outs import TIME_OUTS, TimeOuts

ResultT = TypeVar("ResultT")
# Who holds the lease, and until when by that one's own clock.
LeaseInfo = tuple[str, datetime]
# Seconds that a job waits at most before it is tried again.
LONGEST_WAIT: Final = 60.0
# Events that are removed in one transaction, so that none is long.
AT_ONCE: Final = 10_000


class Store:
    """The database behind a URL. One that is empty gets its tables; one of an older release is
    brought up where `migrate` says so, and else refused, as is one whose tables are others.

    Every call raises NotReady where the database cannot be reached, or stays locked. Where the disk
    of an SQLite file is full, nothing new is taken, but what becomes of jobs is still written: the
    reserve is given up for it.
    """

    def __init__(self, url: str, time_outs: TimeOuts = TIME_OUTS, *, migrate: bool = False) -> None:
        self.engine, file = open_engine(url, time_outs)
        self.reserve = BallastFile(Path(f"{file}.reserve")) if file else None
        self.backup = Backup(file) if file else None
        self.schema = Schema(self.engine, self.backup, migrate=migrate)
        writing = self.engine.execution_options(immediate=True)
        self._read = sessionmaker(self.engine, expire_on_commit=False)
        self._write = sessionmaker(writing, expire_on_commit=False)
        self._exclusive = sessionmaker(
            writing.execution_options(exclusive=True), expire_on_commit=False
        )
        try:
            self.schema.prepare()
        except Damaged:  # it may be the first start, too
            self.repair()
        except Exception:
            self.close()
            raise

    def repair(self) -> None:
        """Mend an SQLite file by its backup, which may be older. Raises NotReady, OSError."""
        if self.backup:
            self.backup.restore_if_damaged()
            self.schema.prepare()
            self.backup.keep_revoked()

    def close(self) -> None:
        self.engine.dispose()

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
        """Store what is new, then the rows that belong to it; none of it if `max_queued` wait
        in this state already. The jobs of a sweep wait as one.
        """
        queue_slot = func.coalesce(SweepJob.sweep_id, Job.id)
        waiting = (
            select(func.count(queue_slot.distinct())).select_from(Job).where(Job.status == status)
        )
        with self._exclusive.begin() as session:
            if (session.scalar(waiting.outerjoin(SweepJob)) or 0) >= max_queued:
                return False
            session.add_all(new)
            session.flush()
            session.add_all(rows)
        return True

    def job(self, job_id: str) -> Job | None:
        if "\0" in job_id:  # PostgreSQL would not even be asked for it
            return None
        with self._read() as session:
            return session.scalar(select(Job).where(Job.id == job_id))

    def trace_context(self, job_id: str) -> dict[str, str]:
        """Return what goes on with a job's trace; nothing where it was queued without one."""
        with self._read() as session:
            trace = session.get(Trace, job_id)
        return trace.trace_context if trace else {}

    def job_by_key(self, key: str) -> Job | None:
        with self._read() as session:
            return session.scalar(select(Job).where(Job.idempotency_key == key))

    def jobs(
        self, status: str | None = None, before: int | None = None, limit: int = 100
    ) -> Sequence[Job]:
        """List jobs, newest first; `before` is the number of the last one seen."""
        query = select(Job).order_by(Job.number.desc()).limit(limit)
        if status is not None:
            query = query.where(Job.status == status)
        if before is not None:
            query = query.where(Job.number < before)
        with self._read() as session:
            return session.scalars(query).all()

    def jobs_after(self, number: int, limit: int = 100) -> Sequence[Job]:
        """List the jobs that came after this one, oldest first."""
        later = select(Job).where(Job.number > number).order_by(Job.number).limit(limit)
        with self._read() as session:
            return session.scalars(later).all()

    def count_jobs(self) -> dict[str, int]:
        """Count jobs by their state."""
        query = select(Job.status, func.count()).group_by(Job.status)
        with self._read() as session:
            return {status: number for status, number in session.execute(query)}

    def last_started_job(self) -> Job | None:
        """Return the job that was started last; it may still run."""
        started = select(Job).where(Job.started_at.is_not(None))
        with self._read() as session:
            return session.scalar(started.order_by(Job.started_at.desc()).limit(1))

    def next_job(self, status: str) -> Job | None:
        """Return the oldest job in this state that need not wait any longer.

        Where one seems to wait for longer than any does, the clock has been put back.
        """
        ahead = now() + timedelta(seconds=LONGEST_WAIT)
        is_due = or_(Job.not_before <= now(), Job.not_before > ahead)
        due = select(Job).where(Job.status == status, is_due)
        with self._read() as session:
            return session.scalar(due.order_by(Job.number).limit(1))

    def change_job(
        self,
        job_id: str,
        *where: ColumnElement[bool],
        values: dict[str, Any],
        events: Sequence[tuple[str, dict[str, Any]]] = (),
        use_reserve: bool = False,
    ) -> bool:
        """Change a job if it is as `where` says, and tell it in events: their kind, their data.

        What is vital may use the reserve. Says whether the job was changed.
        """
        change = update(Job).where(Job.id == job_id, *where).values(**values)

        def work(session: Session) -> bool:
            changed = _count(session.execute(change)) == 1
            for kind, data in events if changed else ():
                session.add(Event(job_id=job_id, at=now(), kind=kind, data=data))
            return changed

        return self.write(work, vital=use_reserve)

    def events(
        self, job_id: str, after: int = 0, kind: str | None = None, limit: int = 1000
    ) -> Sequence[Event]:
        """List a job's events, oldest first."""
        query = select(Event).where(Event.job_id == job_id, Event.number > after)
        if kind is not None:
            query = query.where(Event.kind == kind)
        with self._read() as session:
            return session.scalars(query.order_by(Event.number).limit(limit)).all()

    def delete_old_events(self, before: datetime) -> bool:
        """Remove some of what jobs told of their progress that ended before then.

        Says whether there may be more. What became of a job stays.
        """
        ended = select(Job.id).where(Job.finished_at < before)
        progress = Event.kind.in_(("batch", "epoch")), Event.job_id.in_(ended)
        some = delete(Event).where(
            Event.number.in_(select(Event.number).where(*progress).limit(AT_ONCE))
        )
        return self.write(lambda session: _count(session.execute(some))) == AT_ONCE

    def lease_holder(self) -> str | None:
        """Return the holder of the lease; None if there is none."""
        held = self.lease()
        return held[0] if held and held[1] > now() else None

    def lease(self) -> LeaseInfo | None:
        """Return the lease as it was last renewed."""
        with self._read() as session:
            lease = session.get(Lease, 1)
        return (lease.holder, lease.expires_at) if lease else None

    def take_lease(self, holder: str, seconds: float, lapsed: LeaseInfo | None = None) -> bool:
        """Take or renew the lease; False where another holds it that is not `lapsed`."""
        expires_at = now() + timedelta(seconds=seconds)
        free = [(holder, Lease.expires_at), *([lapsed] if lapsed else [])]
        same = (
            and_(Lease.holder == free_holder, Lease.expires_at == until)
            for free_holder, until in free
        )
        renewal = update(Lease).where(Lease.id == 1, or_(*same))

        def work(session: Session) -> bool:
            renewed = session.execute(renewal.values(holder=holder, expires_at=expires_at))
            if _count(renewed) == 0:
                if session.get(Lease, 1):  # it is another's
                    return False
                session.add(Lease(id=1, holder=holder, expires_at=expires_at))
            return True

        try:
            return self.write(work, vital=True)
        except IntegrityError:  # another was quicker to make the row
            return False

    def end_lease(self, holder: str) -> None:
        """Return the lease up, where `holder` has it."""
        with self._write.begin() as session:
            session.execute(delete(Lease).where(Lease.holder == holder))

    def write(self, work: Callable[[Session], ResultT], *, vital: bool = False) -> ResultT:
        """Do it in a transaction; what is vital also where only the reserve has room."""
        try:
            with self._write.begin() as session:
                return work(session)
        except DiskFull:
            if not (vital and self.reserve and self.reserve.give_up()):
                raise
        return self.write(work)


def _count(result: Any) -> int:
    return int(result.rowcount)
