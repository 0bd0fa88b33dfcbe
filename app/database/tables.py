"""The tables: jobs, their events, traces and sweeps, the lease of the one supervisor, and keys.

What enters and leaves are rows. This module does not know which database holds them, nor which
changes make sense.
"""

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

# What goes on with a trace in another process, where there is one.
TraceContext = dict[str, str] | None

# As Alembic makes it, but not under its default name: another application in the same database, as
# MLflow, may have that.
REVISION_TABLE: Final = Table(
    "mynet_alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)


def now() -> datetime:
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """Everything here is UTC. SQLite forgets time zones; others may answer in their own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


# SQLite counts rows in a column of this very name; elsewhere an INTEGER ends at two billion.
Number = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


class Job(Base):
    """A training job. `number` orders jobs, `id` is what clients see."""

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
    """Something that happened to a job; `number` counts over all jobs."""

    __tablename__ = "events"

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str]
    data: Mapped[dict[str, Any]]


class Trace(Base):
    """The trace of the request that queued a job, as it travels between processes."""

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
    """Says which sweep a job belongs to, where it belongs to one."""

    __tablename__ = "sweep_jobs"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id"), index=True)


class Lease(Base):
    """One row: who supervises, and until when unless it is renewed."""

    __tablename__ = "lease"

    id: Mapped[int] = mapped_column(primary_key=True)
    holder: Mapped[str]
    expires_at: Mapped[datetime]


class Key(Base):
    """What opens the service to somebody; of the key itself there is only a digest."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    digest: Mapped[str]
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
