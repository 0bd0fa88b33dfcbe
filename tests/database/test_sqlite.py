"""What is SQLite's alone among databases."""

import os
import sqlite3
import time
from contextlib import closing
from types import SimpleNamespace

import pytest
from sqlalchemy import event, text

from app.database import sqlite
from app.database.database import Database
from app.database.jobs import JobStore
from app.errors import NotReady
from tests.database.test_store import add


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


def test_connection_waits_for_another_one_that_sets_up_the_journal(settings, store, monkeypatch):
    """A backup that was restored has another journal, and several processes open it at once."""
    store.database.engine.dispose()
    file = settings.state_dir / "mynet.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        assert other.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
        other.execute("BEGIN IMMEDIATE")
        pauses = []

        def sleep(seconds):
            pauses.append(seconds)
            other.rollback()

        clock = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
        monkeypatch.setattr(sqlite, "time", clock)
        assert store.jobs() == []
    assert pauses == [sqlite.SETUP_INTERVAL]


def test_stamp_changes_with_each_transaction_of_another_process(settings, store):
    with closing(Database(settings.effective_database_url)) as other:
        first = store.database.stamp()
        assert JobStore(other).jobs() == []
        assert store.database.stamp() == first, "a read changes nothing"
        add(JobStore(other), "one")
        second = store.database.stamp()
        assert second != first
        with store.database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(RESTART)")
        add(JobStore(other), "two")
        assert store.database.stamp() not in (first, second)


@pytest.mark.parametrize("name", ["50%25", "what?", "a#b", "a b", "100%", "ü", "a+b", "x&y=1"])
def test_state_folder_of_any_name_holds_its_own_database(settings, name):
    folder = settings.state_dir / name
    url = settings.model_copy(update={"state_dir": folder}).effective_database_url
    with closing(Database(url)):
        assert (folder / "mynet.db").is_file()
    assert os.listdir(settings.state_dir) == [name]


def test_a_connection_that_cannot_write_is_not_used_again(store):
    """SQLite opens a file for reading if the disk does not let it open for writing."""
    engine = store.database.engine
    engine.dispose()

    @event.listens_for(engine, "do_connect")
    def open_for_reading(_dialect, _record, cargs, _cparams):
        cargs[0] = cargs[0].replace("mode=rw", mode)

    mode = "mode=ro"
    with pytest.raises(NotReady, match="could not be opened for writing: attempt to write a read"):
        add(store, "first")
    mode = "mode=rw"
    add(store, "second")
    assert [job.id for job in store.jobs()] == ["second"]
