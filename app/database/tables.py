"""Database tables: jobs, their events, traces and sweeps, the supervisor's lease, and API keys."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

# The carrier that continues a trace in another process, or None without a trace.
TraceContext = dict[str, str] | None

# Alembic's table under another name: another application in the same database, such as MLflow, may
# use the default one.
REVISION_TABLE: Final = Table(
    "mynet_alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)


def now() -> datetime:
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC. SQLite drops time zones; other databases may return their own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


# SQLite numbers rows only if the type is exactly INTEGER. Other databases' INTEGER ends at two
# billion.
Number = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


class Job(Base):
    """A training job. `number` orders jobs; clients see `id`."""

    __tablename__ = "jobs"

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[datetime]
    not_before: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    hyperparameters: Mapped[dict[str, Any]]
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)
    attempt: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    errors: Mapped[int] = mapped_column(default=0)
    committing: Mapped[bool] = mapped_column(default=False)
    progress: Mapped[dict[str, Any] | None]
    epochs: Mapped[list[Any]] = mapped_column(default=list)
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]


class Event(Base):
    """An event of a job. `number` increases over the events of all jobs."""

    __tablename__ = "events"

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str]
    data: Mapped[dict[str, Any]]


class Trace(Base):
    """The trace context of the request that queued a job."""

    __tablename__ = "traces"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    trace_context: Mapped[dict[str, Any]]


class Sweep(Base):
    """A group of jobs. `best` is the id of its best job, stored when the sweep ends."""

    __tablename__ = "sweeps"

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None] = mapped_column(index=True)
    request: Mapped[dict[str, Any]]
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)
    best: Mapped[str | None]
    error: Mapped[dict[str, Any] | None]


class SweepJob(Base):
    """The sweep of a job, for jobs that belong to one."""

    __tablename__ = "sweep_jobs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id"), index=True)


class Lease(Base):
    """The supervisor's lease, in one row: its holder and its expiry."""

    __tablename__ = "lease"

    id: Mapped[int] = mapped_column(primary_key=True)
    holder: Mapped[str]
    expires_at: Mapped[datetime]


class Key(Base):
    """An API key. The database stores only a digest of its secret."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    digest: Mapped[str]
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
