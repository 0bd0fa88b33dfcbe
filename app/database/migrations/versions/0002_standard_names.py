"""Rename columns to standard terms."""

from alembic import op

revision = "0002"
down_revision = "0001"

RENAMED = (
    ("jobs", "deaths", "crashes"),
    ("jobs", "stumbles", "errors"),
    ("jobs", "finishing", "committing"),
    ("sweeps", "deaths", "crashes"),
    ("sweeps", "finishing", "committing"),
    ("sweeps", "over", "expected_live"),
    ("sweeps", "wanted", "request"),
    ("traces", "trail", "trace_context"),
)


def upgrade() -> None:
    for table, old, new in RENAMED:
        op.alter_column(table, old, new_column_name=new)
