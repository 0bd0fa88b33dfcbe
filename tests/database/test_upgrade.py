"""A database and state folder made by commit bfdd7ca, and what is there after the upgrade."""

import json
import shutil
from contextlib import closing
from datetime import UTC, datetime

import pytest
from sqlalchemy import JSON, Boolean, Connection, DateTime, MetaData, select, text
from starlette.testclient import TestClient

from app.database import migrate
from app.database.engine import open_engine
from app.database.schema import BASELINE, REVISION
from app.database.tables import Base
from app.feedback import FeedbackStore
from app.main import create_app
from app.startup import open_database
from app.train.supervisor import supervisor
from tests.conftest import ROOT
from tests.database import before_revisions
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES
SNAPSHOT_DIR = ROOT / "tests" / "data" / "bfdd7ca"
ROWS = json.loads((SNAPSHOT_DIR / "expected.json").read_text())
AS_JSON = {"Accept": "application/json"}
RENAMED_COLUMNS = {
    "jobs": {"deaths": "crashes", "stumbles": "errors", "finishing": "committing"},
    "sweeps": {"wanted": "request"},
    "traces": {"trail": "trace_context"},
}
# Columns that older rows lack.
ADDED_COLUMNS = {"jobs": {"phase": None, "data": None}, "keys": {"last_used": None}}
# Tables that are empty after the upgrade.
ADDED_TABLES = {"initial_weights", "datasets", "webhooks", "deliveries", "retraining"}
# A sweep promotes nothing since revision 0003.
DROPPED_COLUMNS = {"sweeps": {"deaths", "finishing", "over", "result"}}


@pytest.fixture
def old(settings, database_url):
    """The settings of a service on a copy of that state folder, or on its rows in PostgreSQL."""
    shutil.copytree(SNAPSHOT_DIR / "state", settings.state_dir)
    if database_url:
        before_revisions.make(database_url)
        load(settings.state_dir / "mynet.db", database_url)
        (settings.state_dir / "mynet.db").unlink()
    return settings


def load(file, url):
    """Copy the rows of an SQLite file into PostgreSQL's tables of the same revision."""
    source, _ = open_engine(f"sqlite:///{file}")
    target, _ = open_engine(url)
    with source.connect() as reading, target.begin() as writing:
        tables = MetaData()
        tables.reflect(writing)
        for table in migrate.tables_at(BASELINE).sorted_tables:
            rows = [with_zones(row) for row in reading.execute(select(table)).mappings()]
            assert len(rows) == len(ROWS[table.name])
            writing.execute(tables.tables[table.name].insert(), rows)
            if "number" in table.columns:
                advance(writing, table.name)
    source.dispose()
    target.dispose()


def with_zones(row):
    return {
        name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
        for name, value in row.items()
    }


def advance(connection: Connection, table: str) -> None:
    sequence = f"pg_get_serial_sequence('{table}', 'number')"
    connection.execute(text(f"SELECT setval({sequence}, (SELECT max(number) FROM {table}))"))


def expected(table):
    """Return the rows as they were, by the columns of today, as Python's values."""
    names, dropped = RENAMED_COLUMNS.get(table.name, {}), DROPPED_COLUMNS.get(table.name, set())
    rows = [
        ADDED_COLUMNS.get(table.name, {})
        | {
            names.get(name, name): as_python(table, names.get(name, name), raw)
            for name, raw in row.items()
            if name not in dropped
        }
        for row in ROWS.get(table.name, ())
    ]
    for row in rows if table.name == "sweeps" else ():
        assert row["request"].pop("promote") == "always"
    return rows


def as_python(table, name, raw):
    kind = getattr(table.columns[name].type, "impl_instance", table.columns[name].type)
    if raw is None:
        return None
    if isinstance(kind, DateTime):
        return datetime.fromisoformat(raw).replace(tzinfo=UTC)
    if isinstance(kind, JSON):
        return json.loads(raw)
    return bool(raw) if isinstance(kind, Boolean) else raw


def test_there_is_something_of_everything_before():
    states = {job["status"] for job in ROWS["jobs"]}
    assert states == {"queued", "running", "paused", "succeeded", "failed", "cancelled"}
    assert {sweep["status"] for sweep in ROWS["sweeps"]} == {"succeeded", "cancelled", "running"}
    assert any(key["revoked_at"] for key in ROWS["keys"])
    names = set(Base.metadata.tables) - ADDED_TABLES
    assert all(ROWS[name] for name in names)
    counters = {"deaths", "stumbles", "finishing"}
    assert {name for job in ROWS["jobs"] for name in counters if job[name]} == counters
    assert set(ROWS) == names


def test_every_row_is_there_after_the_upgrade(old):
    with (
        closing(open_database(old, migrate=True)) as database,
        database.engine.connect() as connection,
    ):
        for table in Base.metadata.sorted_tables:
            rows = connection.execute(select(table))
            actual = [dict(row) for row in rows.mappings()]
            assert sorted(actual, key=str) == sorted(expected(table), key=str), table.name
        assert connection.scalar(text("SELECT version_num FROM mynet_alembic_version")) == REVISION


@pytest.mark.usefixtures("all_shipped")
def test_the_service_answers_for_all_that_was_there(old, monkeypatch):
    monkeypatch.setattr(supervisor.Supervisor, "_schedule", lambda _: None)
    with TestClient(create_app(old), raise_server_exceptions=False) as client:
        assert client.get("/health/ready").status_code == 200
        listed = client.get("/train?limit=1000")
        assert listed.status_code == 200, listed.text
        jobs = {job["id"]: job for job in listed.json()["data"]}
        assert {name: job["status"] for name, job in jobs.items()} == {
            job["id"]: job["status"] for job in ROWS["jobs"]
        }
        for name in jobs:
            events = client.get(f"/train/{name}/events?limit=1000", headers=AS_JSON).json()["data"]
            assert len(events) == sum(event["job_id"] == name for event in ROWS["events"])
        sweeps = client.get("/sweeps").json()["data"]
        assert [sweep["id"] for sweep in sweeps] == [row["id"] for row in reversed(ROWS["sweeps"])]
        assert [sweep["best"] and sweep["best"]["id"] for sweep in sweeps] == [
            row["best"] for row in reversed(ROWS["sweeps"])
        ]
        assert len(client.get("/feedback").json()["data"]) == 2
        queued = client.post("/train", json={"note": "new"})
        assert queued.status_code == 202
        assert queued.json()["id"] not in jobs
    assert len(FeedbackStore(old.feedback_dir, 99).all()) == 2
    assert (old.models_dir / "CURRENT").read_text() == (
        SNAPSHOT_DIR / "state/models/CURRENT"
    ).read_text()
