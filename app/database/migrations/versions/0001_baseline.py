"""The tables of releases before databases had revisions.

Such a database has some or all of them, because each release created the tables that were missing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    jobs()
    sweeps()
    op.create_table(
        "lease",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME),
        sa.Column("revoked_at", TIME),
        if_not_exists=True,
    )


def jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("not_before", TIME, nullable=False),
        sa.Column("started_at", TIME),
        sa.Column("finished_at", TIME),
        sa.Column("hyperparameters", sa.JSON, nullable=False),
        sa.Column("idempotency_key", sa.String, unique=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("stumbles", sa.Integer, nullable=False),
        sa.Column("finishing", sa.Boolean, nullable=False),
        sa.Column("progress", sa.JSON),
        sa.Column("epochs", sa.JSON, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("error", sa.JSON),
        if_not_exists=True,
    )
    op.create_index("ix_jobs_status", "jobs", ["status"], if_not_exists=True)
    op.create_table(
        "events",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("job_id", sa.String, sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_events_job_id", "events", ["job_id"], if_not_exists=True)
    op.create_table(
        "traces",
        sa.Column("job_id", sa.String, sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("trail", sa.JSON, nullable=False),
        if_not_exists=True,
    )


def sweeps() -> None:
    op.create_table(
        "sweeps",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("finished_at", TIME),
        sa.Column("wanted", sa.JSON, nullable=False),
        sa.Column("idempotency_key", sa.String, unique=True),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("finishing", sa.Boolean, nullable=False),
        sa.Column("over", sa.Integer),
        sa.Column("best", sa.String),
        sa.Column("result", sa.JSON),
        sa.Column("error", sa.JSON),
        if_not_exists=True,
    )
    op.create_index("ix_sweeps_finished_at", "sweeps", ["finished_at"], if_not_exists=True)
    op.create_table(
        "sweep_jobs",
        sa.Column("job_id", sa.String, sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("sweep_id", sa.String, sa.ForeignKey("sweeps.id"), nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_sweep_jobs_sweep_id", "sweep_jobs", ["sweep_id"], if_not_exists=True)
