"""Drop the columns that promoted a sweep: a sweep only names its best job now."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

DROPPED = ("crashes", "committing", "expected_live", "result")
sweeps = sa.table("sweeps", sa.column("id"), sa.column("request", sa.JSON))


def upgrade() -> None:
    connection = op.get_bind()
    for sweep_id, request in connection.execute(sa.select(sweeps.c.id, sweeps.c.request)).all():
        request.pop("promote", None)
        change = sweeps.update().where(sweeps.c.id == sweep_id).values(request=request)
        connection.execute(change)
    for column in DROPPED:
        op.drop_column("sweeps", column)
