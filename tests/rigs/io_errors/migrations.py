"""Migrations of a database: from the tables before there were revisions, and from later ones."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from app.config.settings import Settings
from app.database import migrate
from app.database.engine import open_engine
from app.database.schema import BASELINE, REVISION
from app.startup import open_database
from tests.conftest import ROOT
from tests.rigs.io_errors.trial import Operation, temporary_files

SNAPSHOT: Final = ROOT / "tests" / "data" / "bfdd7ca" / "state" / "mynet.db"
REVISIONS: Final = (BASELINE, "0003", "0006")
REVISION_QUERY: Final = "SELECT version_num FROM mynet_alembic_version"


def operations(settings: Settings) -> dict[str, Operation]:
    """Return a migration from each of the revisions."""
    return {f"migrate from {revision}": _migration(settings, revision) for revision in REVISIONS}


def _migration(settings: Settings, revision: str) -> Operation:
    folder = settings.state_dir
    file, old = folder / "mynet.db", folder.with_name(f"revision-{revision}.db")

    def make_old() -> None:
        old.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SNAPSHOT, old)
        if revision != BASELINE:
            engine, _ = open_engine(f"sqlite:///{old}")
            with engine.begin() as connection:
                migrate.upgrade(connection, revision)
            engine.dispose()

    def prepare() -> None:
        if not old.exists():
            make_old()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(old, file)

    def act() -> None:
        open_database(settings, migrate=True).close()

    def is_migrated() -> int:
        with closing(sqlite3.connect(file)) as database:
            assert _jobs(database) == _jobs_of(old), "jobs were lost"
            tables = database.execute("SELECT name FROM sqlite_master").fetchall()
            if ("mynet_alembic_version",) not in tables:
                return 0
            return int(database.execute(REVISION_QUERY).fetchall() == [(REVISION,)])

    def leftovers() -> list[str]:
        copies = sorted(folder.glob("*.before-*"))
        return [path.name for path in (*temporary_files(folder), *copies[1:])]

    return Operation(act, is_migrated, prepare, leftovers=leftovers)


def _jobs_of(file: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as database:
        return _jobs(database)


def _jobs(database: sqlite3.Connection) -> list[tuple[str, str]]:
    return database.execute("SELECT id, status FROM jobs ORDER BY id").fetchall()
