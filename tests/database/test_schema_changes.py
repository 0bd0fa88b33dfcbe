"""A schema that changes while a service runs, as where a newer one migrates what they share."""

import asyncio
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from app import main
from app.api.routes import health
from app.database import schema
from app.database.schema import REVISION
from app.database.sqlite import DatabaseCorrupt
from app.errors import NotReady
from app.main import create_app
from tests.database.test_schema import change
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES


@pytest.fixture
def served(settings, monkeypatch):
    monkeypatch.setattr(health, "SCHEMA_CHECK_INTERVAL", 3600)  # it looks where the test says so
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        assert client.get("/health/ready").status_code == 200
        yield client


def recheck(client):
    client.app_state["services"].database.schema.recheck()


def test_a_service_looks_again_and_again(served, monkeypatch):
    watches = [*main._background_tasks(served.app_state["services"])]
    assert any(watch.cr_code is health.watch.__code__ for watch in watches)
    for watch in watches:
        watch.close()
    calls = []

    def fail_at_first():
        calls.append(1)
        assert len(calls) > 1, "whatever is raised, it goes on"

    async def until_it_looked_often():
        schema = SimpleNamespace(recheck=fail_at_first)
        task = asyncio.create_task(health.watch(SimpleNamespace(schema=schema)))
        while len(calls) < 3:
            await asyncio.sleep(0.01)
        task.cancel()

    monkeypatch.setattr(health, "SCHEMA_CHECK_INTERVAL", 0.0)
    asyncio.run(until_it_looked_often())


@pytest.mark.parametrize(
    ("change_sql", "revert_sql", "message"),
    [
        (
            "UPDATE mynet_alembic_version SET version_num = '9999'",
            f"UPDATE mynet_alembic_version SET version_num = '{REVISION}'",
            "has revision 9999",
        ),
        (
            "ALTER TABLE jobs RENAME COLUMN progress TO other",
            "ALTER TABLE jobs RENAME COLUMN other TO progress",
            "jobs.progress is missing",
        ),
    ],
)
def test_a_schema_that_changes_while_it_serves_ends_readiness(
    settings, served, change_sql, revert_sql, message
):
    url = settings.effective_database_url
    change(url, change_sql)
    recheck(served)
    for path in ("/health/ready", "/v2/health/ready", "/train", "/sweeps"):
        response = served.get(path)
        assert response.status_code == 503
        assert message in response.text
        assert REVISION in response.text
    assert served.post("/train", json={}).status_code == 503, "it touches nothing of a newer one"
    assert served.get("/health/live").status_code == 200
    change(url, revert_sql)
    recheck(served)
    assert served.get("/health/ready").status_code == 200
    assert served.get("/train").status_code == 200


def test_a_database_that_is_away_leaves_readiness_alone(store, monkeypatch):
    def raise_not_ready(_):
        raise NotReady("The database does not answer")

    monkeypatch.setattr(schema, "check", raise_not_ready)
    store.database.schema.recheck()
    assert store.database.schema.problem is None
    store.database.schema.problem = "another"
    store.database.schema.recheck()
    assert store.database.schema.problem == "another"


def test_damage_is_no_matter_of_the_schema(store, monkeypatch):
    def raise_damaged(_):
        raise DatabaseCorrupt("the file has no tables")

    monkeypatch.setattr(schema, "check", raise_damaged)
    store.database.schema.problem = "another"
    store.database.schema.recheck()
    assert store.database.schema.problem is None, "or else nothing would be mended"
