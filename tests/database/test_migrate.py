"""Upgrades by several processes at once, and one that is killed in the middle."""

import signal
import subprocess
import sys

import pytest
from sqlalchemy import text

from app.database import migrate, schema
from app.database.jobs import JobStore
from app.database.schema import BASELINE, REVISION, OutdatedSchema
from app.startup import StartupError, open_database
from tests.database import before_revisions
from tests.database.test_schema import connected
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES
JOB = (
    "INSERT INTO jobs (number, id, status, created_at, not_before, hyperparameters, attempt, "
    "deaths, stumbles, finishing, epochs) VALUES (1, 'a', 'queued', '2026-01-01 00:00:00.000000', "
    "'2026-01-01 00:00:00.000000', '{}', 3, 2, 1, false, '[]')"
)
START = """
import os, sys
from app.config.settings import Settings
from app.database.jobs import JobStore
from app.startup import open_database
settings = Settings(state_dir=sys.argv[1], database_url=sys.argv[2] or None)
database = open_database(settings, migrate=True)
job = JobStore(database).job("a")
row = f"{job.attempt} {job.crashes} {job.errors} {database.schema.migrated is not None}\\n"
os.write(sys.stdout.fileno(), row.encode())  # in one call: four processes share the pipe
database.close()
"""
# Four processes of one that has imported the code: they start at once, whatever an import takes.
MANY = f"""
import os
import app.config.settings, app.database.jobs, app.startup
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        break
    children.append(child)
if child:
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os._exit(max(map(abs, codes)))
{START}
"""
# At the third statement that changes a table: some columns have their new names by then.
KILLED = f"""
import os, signal
from sqlalchemy import Engine, event
seen = []
@event.listens_for(Engine, "after_cursor_execute")
def kill(connection, cursor, statement, *_):
    seen.extend([1] if statement.startswith("ALTER TABLE") else [])
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
{START}
"""


@pytest.fixture
def old(settings):
    before_revisions.make(settings.effective_database_url, without=["keys"], statements=[JOB])
    return settings


def start_process(settings, code=START):
    return subprocess.Popen(
        [sys.executable, "-c", code, settings.state_dir, settings.database_url or ""],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_of_many_that_start_at_once_one_migrates(old):
    process = start_process(old, MANY)
    outputs = [line.split() for line in process.communicate(timeout=240)[0].splitlines()]
    assert process.returncode == 0
    assert [row[:3] for row in outputs] == [["3", "2", "1"]] * 4
    assert sorted(row[3] for row in outputs) == ["False", "False", "False", "True"]
    copies = [path.name for path in old.state_dir.glob("*.before-*")]
    assert copies == ([] if old.database_url else [f"mynet.db.before-{BASELINE}"])


def test_a_migration_that_is_killed_leaves_what_the_next_start_migrates(old):
    process = start_process(old, KILLED)
    process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL
    with connected(old.effective_database_url) as connection:
        assert connection.scalar(text("SELECT deaths FROM jobs")) == 2
        with pytest.raises(OutdatedSchema):
            schema.check(connection)
    process = start_process(old)
    assert process.communicate(timeout=240)[0].split() == ["3", "2", "1", "True"]
    with connected(old.effective_database_url) as connection:
        schema.check(connection)
        assert connection.scalar(text("SELECT version_num FROM mynet_alembic_version")) == REVISION


def test_a_migration_that_fails_changes_nothing(old, monkeypatch):
    upgrade = migrate.upgrade

    def harmful(connection, revision="head"):
        upgrade(connection, revision)
        if revision == "head":
            connection.execute(text("ALTER TABLE jobs DROP COLUMN errors"))

    monkeypatch.setattr(migrate, "upgrade", harmful)
    with pytest.raises(StartupError, match=r"jobs\.errors is missing"):
        open_database(old, migrate=True)
    monkeypatch.undo()
    store = JobStore(open_database(old, migrate=True))
    assert store.job("a").errors == 1
    store.database.close()
