"""What is SQLite's alone among databases."""

import pytest
from sqlalchemy import text

from app.database.database import Database
from app.database.jobs import JobStore
from app.errors import NotReady


@pytest.mark.parametrize("pragma", ["journal_mode", "synchronous"])
def test_sqlite_is_set_up_so_that_nothing_told_is_lost(store, pragma):
    with store.database.engine.connect() as connection:
        value = connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()
    assert value == {"journal_mode": "wal", "synchronous": 2}[pragma]


def test_a_database_that_stays_locked_is_told(settings, store):
    other = JobStore(Database(settings.effective_database_url))
    with other.database.engine.connect() as connection, store.database.engine.connect() as waiting:
        waiting.exec_driver_sql("PRAGMA busy_timeout=10")
        waiting.rollback()
        connection.execution_options(immediate=True).execute(text("DELETE FROM lease"))
        with pytest.raises(NotReady, match="The database does not answer: database is locked"):
            waiting.execution_options(immediate=True).execute(text("DELETE FROM lease"))
    other.database.close()
