"""Database tables: jobs, what belongs to them, data sets, the lease, and API keys."""

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
    phase: Mapped[dict[str, Any] | None]
    data: Mapped[dict[str, Any] | None]
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


class InitialWeights(Base):
    """The weights that a job begins with, in safetensors format, until it has ended."""

    __tablename__ = "initial_weights"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    content: Mapped[bytes]


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


class Dataset(Base):
    """An uploaded data set, whose images are in a file. Without a name, it is being deleted."""

    __tablename__ = "datasets"

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str | None] = mapped_column(unique=True)
    digest: Mapped[str]
    created_at: Mapped[datetime]
    images: Mapped[int]
    details: Mapped[dict[str, Any]]


class Webhook(Base):
    """Where to send events of a job. `from_settings` means `MYNET_WEBHOOK_URL`, not a request."""

    __tablename__ = "webhooks"

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    url: Mapped[str]
    events: Mapped[list[Any]]
    from_settings: Mapped[bool]


class Delivery(Base):
    """A message of the outbox: an event of a job for one URL, and what became of it so far.

    It is due at `next_attempt_at`. A process that sends it moves that time forward first, so that
    another one sends it if this one dies.
    """

    __tablename__ = "deliveries"

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    event: Mapped[str]
    url: Mapped[str]
    origin: Mapped[str]
    body: Mapped[str]
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime | None] = mapped_column(index=True)
    finished_at: Mapped[datetime | None]
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]


class Retraining(Base):
    """The time, in one row, up to which trainings have used the corrections."""

    __tablename__ = "retraining"

    id: Mapped[int] = mapped_column(primary_key=True)
    since: Mapped[datetime]


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
    last_used: Mapped[datetime | None]
