"""A database that is damaged, gone or older than its backup, and what it holds then."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app.auth.keys import KeyStore, Scope
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.sqlite import DatabaseCorrupt
from app.database.tables import now
from app.startup import open_database
from tests.database.test_store import add


@pytest.fixture
def file(settings):
    return settings.state_dir / "mynet.db"


@pytest.fixture
def store(settings):
    """A database with an ended job and a revoked key, backed up."""
    store = JobStore(Database(settings.effective_database_url))
    add(store, "ended", status="succeeded", finished_at=now())
    store.database.backup.back_up()
    yield store
    store.database.close()


def garbage(file):
    file.write_bytes(os.urandom(8192))


def no_content(file):
    file.write_bytes(b"")


def cut_off(file):
    file.write_bytes(file.read_bytes()[:5000])


@pytest.mark.parametrize("harm", [garbage, no_content, cut_off, Path.unlink])
def test_a_damaged_database_gives_way_to_its_backup(store, file, harm):
    store.database.close()
    harm(file)
    damaged_content = file.read_bytes() if file.exists() else None
    with pytest.raises(DatabaseCorrupt, match=r"The database is damaged: .* predictions continue"):
        store.jobs()
    store.database.repair()
    assert [job.id for job in store.jobs()] == ["ended"]
    assert [event.kind for event in store.events("ended")] == ["x"]
    set_aside = [path.read_bytes() for path in file.parent.glob("mynet.db.broken-*") if path.suffix]
    assert damaged_content is None or damaged_content in set_aside, (
        "what was damaged is set aside, not removed"
    )


def test_what_is_sound_is_left_alone(store, file):
    add(store, "new")
    inode = file.stat().st_ino
    store.database.repair()
    assert [job.id for job in store.jobs()] == ["new", "ended"]
    assert file.stat().st_ino == inode


def test_a_damaged_backup_is_not_taken(store, file):
    store.database.close()
    garbage(file)
    garbage(store.database.backup.copy)
    store.database.repair()
    assert store.jobs() == []


def put_back(older, file):
    """Replace the database as an operator does, without the parts of the one that lay there."""
    for part in ("-wal", "-shm"):
        Path(f"{file}{part}").unlink(missing_ok=True)
    shutil.move(older, file)


def test_an_older_database_put_back_keeps_its_older_state(store, file, tmp_path):
    keys = KeyStore(store.database)
    revoked, _ = keys.create("revoked", [Scope.PREDICT])
    valid, _ = keys.create("valid", [Scope.PREDICT])
    add(store, "ends")
    with closing(sqlite3.connect(file)) as database:
        database.execute("VACUUM INTO ?", [str(tmp_path / "older.db")])
    store.change_job("ends", values={"status": "failed", "finished_at": now()})
    add(store, "later", status="succeeded", finished_at=now())
    keys.create("later", [Scope.ADMIN])
    keys.revoke(revoked.id)
    store.database.backup.back_up()
    put_back(tmp_path / "older.db", file)
    store.database.backup.back_up()
    assert [(job.id, job.status) for job in store.jobs()] == [
        ("ends", "queued"),
        ("ended", "succeeded"),
    ]
    assert {key.id for key in keys.all()} == {revoked.id, valid.id}
    assert [key.id for key in keys.valid()] == [valid.id], "what was revoked stays revoked"
    with closing(sqlite3.connect(store.database.backup.copy)) as database:
        (revoked_count,) = database.execute("SELECT count(revoked_at) FROM keys").fetchone()
    assert revoked_count == 1, "the new backup knows it, too"


def test_a_start_over_an_older_database_keeps_keys_revoked(settings, store, file, tmp_path):
    keys = KeyStore(store.database)
    revoked, _ = keys.create("revoked", [Scope.PREDICT])
    with closing(sqlite3.connect(file)) as database:
        database.execute("VACUUM INTO ?", [str(tmp_path / "older.db")])
    keys.revoke(revoked.id)
    store.database.backup.back_up()
    store.database.close()
    put_back(tmp_path / "older.db", file)
    with closing(open_database(settings)) as opened:
        assert KeyStore(opened).valid() == []


def test_a_backup_is_made_anew_only_where_something_matters(store):
    def backup_inode():
        store.database.backup.back_up()
        return store.database.backup.copy.stat().st_ino

    first = backup_inode()
    store.change_job("ended", values={"attempt": 2}, events=[("batch", {})])
    assert backup_inode() == first
    store.change_job("ended", values={"status": "failed"})
    second = backup_inode()
    assert second != first
    key, _ = KeyStore(store.database).create("new", [Scope.TRAIN])
    third = backup_inode()
    assert third != second
    KeyStore(store.database).revoke(key.id)
    assert backup_inode() != third, "else the key would be valid again after a repair"


def test_an_older_backup_takes_nothing_back(store):
    store.change_job("ended", values={"attempt": 7})
    store.database.repair()
    assert store.job("ended").attempt == 7


def test_connections_are_of_the_file_that_lies_there(store, file, tmp_path):
    other = JobStore(Database(f"sqlite:///{tmp_path / 'other.db'}"))
    add(other, "other")
    other.database.close()
    assert store.job("ended")
    for part in ("-wal", "-shm"):
        Path(f"{file}{part}").unlink(missing_ok=True)
    os.replace(tmp_path / "other.db", file)
    assert [job.id for job in store.jobs()] == ["other"]


@pytest.mark.parametrize("harm", [garbage, no_content, cut_off, Path.unlink])
def test_a_start_mends_what_is_damaged(settings, store, file, harm):
    store.database.close()
    harm(file)
    with closing(open_database(settings)) as opened:
        assert [job.id for job in JobStore(opened).jobs()] == ["ended"]
