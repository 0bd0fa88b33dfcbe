"""Add uploaded data sets, and the data that a job trains with."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("name", sa.String, unique=True),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
    )
    op.add_column("jobs", sa.Column("data", sa.JSON))
