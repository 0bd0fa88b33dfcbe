"""Databases as MyNet made them before they had revisions."""

from collections.abc import Iterable

from sqlalchemy import text

from app.database import migrate
from app.database.backup import Backup
from app.database.engine import open_engine
from app.database.schema import BASELINE


def make(url: str, *, without: Iterable[str] = (), statements: Iterable[str] = ()) -> None:
    """Make one, which lacks some tables as those of older releases do; then run statements."""
    engine, file = open_engine(url)
    if file:
        Backup(file).restore_if_damaged()
    with engine.execution_options(immediate=True).begin() as connection:
        migrate.upgrade(connection, BASELINE)
        for table in ("mynet_alembic_version", *without):
            connection.execute(text(f"DROP TABLE {table}"))
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
