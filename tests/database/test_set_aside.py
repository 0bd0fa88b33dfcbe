"""The copy of an SQLite file that is set aside before an upgrade, and upgrades of its backup."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from app.auth.keys import KeyStore
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.schema import BASELINE, REVISION
from app.startup import StartupError, open_database
from tests.database import before_revisions
from tests.database.test_upgrade import ROWS, SNAPSHOT_DIR


@pytest.fixture
def file(settings):
    """The database of a state folder that commit bfdd7ca made."""
    shutil.copytree(SNAPSHOT_DIR / "state", settings.state_dir)
    return settings.state_dir / "mynet.db"


@pytest.fixture
def copy(file):
    return file.with_name(f"mynet.db.before-{BASELINE}")


def upgrade(settings):
    open_database(settings, migrate=True).close()


def revision(file):
    with closing(sqlite3.connect(file)) as database:
        try:
            return database.execute("SELECT version_num FROM mynet_alembic_version").fetchone()[0]
        except sqlite3.OperationalError:
            return None


def execute(file, statement):
    with closing(sqlite3.connect(file)) as database:
        database.execute(statement)
        database.commit()


def test_the_copy_from_before_is_what_the_older_release_had(settings, copy):
    upgrade(settings)
    with closing(sqlite3.connect(copy)) as database:
        database.row_factory = sqlite3.Row
        for name, rows in ROWS.items():
            assert [dict(row) for row in database.execute(f"SELECT * FROM {name} ORDER BY 1")] == (
                rows
            )
        tables = database.execute(
            "SELECT name FROM sqlite_master WHERE name = 'mynet_alembic_version'"
        )
        assert tables.fetchone() is None


def test_what_was_set_aside_is_never_written_over(settings, file, copy):
    first = file.read_bytes()
    upgrade(settings)
    set_aside = copy.read_bytes()
    upgrade(settings)
    file.write_bytes(first)  # as if the upgrade had not come to its end
    upgrade(settings)
    assert copy.read_bytes() == set_aside
    assert sorted(path.name for path in file.parent.glob("*.before-*")) == [copy.name]
    file.write_bytes(first)
    execute(file, "UPDATE jobs SET attempt = 77")  # the older release went on for a while
    upgrade(settings)
    assert copy.read_bytes() == set_aside
    second = copy.with_name(f"{copy.name}-2")
    with closing(sqlite3.connect(second)) as database:
        assert database.execute("SELECT min(attempt) FROM jobs").fetchone() == (77,)


def test_a_new_database_sets_nothing_aside(settings):
    upgrade(settings)
    assert not list(settings.state_dir.glob("*.before-*"))


def test_where_nothing_can_be_set_aside_nothing_is_migrated(settings, file, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    content = file.read_bytes()
    monkeypatch.setattr("app.database.backup.atomic_replace", full)
    with pytest.raises(StartupError, match="No space left"):
        upgrade(settings)
    assert revision(file) is None
    monkeypatch.undo()
    assert len(content) == file.stat().st_size
    upgrade(settings)
    assert revision(file) == REVISION


@pytest.fixture
def damaged(file):
    """The database is garbage, and its backup is of the older release."""
    shutil.copy(file, f"{file}.backup")
    file.write_bytes(os.urandom(8192))
    return file


def test_an_older_backup_in_place_of_a_damaged_database_is_migrated(settings, damaged):
    with closing(open_database(settings, migrate=True)) as database:
        assert len(JobStore(database).jobs()) == len(ROWS["jobs"])
    assert revision(damaged) == REVISION


def test_an_older_backup_is_not_migrated_behind_the_operators_back(settings, damaged):
    by_hand = settings.model_copy(update={"database_migrate": False})
    with pytest.raises(StartupError, match="Run `mynet db upgrade`"):
        open_database(by_hand, migrate=True)
    assert damaged.resolve() not in open_files(), "a connection is left open"
    assert revision(damaged) is None


def open_files():
    """Return the files that this process has open, where the system tells them."""
    with suppress(OSError):
        return [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    return []


def test_a_running_service_migrates_an_older_backup(settings, file):
    store = JobStore(Database(settings.effective_database_url, migrate=True))
    before_revisions.make(f"sqlite:///{file}.backup")
    file.unlink()
    store.database.repair()
    assert store.jobs() == []
    assert revision(file) == REVISION
    store.database.close()


def test_keys_revoked_in_a_newer_backup_stay_revoked_in_an_older_database(settings, file):
    first = file.read_bytes()
    with closing(open_database(settings, migrate=True)) as database:
        valid = KeyStore(database).valid()
        KeyStore(database).revoke(valid[0].id)
        database.backup.back_up()
    for part in ("-wal", "-shm"):
        file.with_name(f"{file.name}{part}").unlink(missing_ok=True)
    file.write_bytes(first)
    with closing(open_database(settings, migrate=True)) as database:
        assert [key.id for key in KeyStore(database).valid()] == [key.id for key in valid[1:]]
