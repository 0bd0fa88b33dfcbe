"""Add the time when a key was last used."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("keys", sa.Column("last_used", sa.DateTime(timezone=True)))
