"""PostgreSQL: concurrent starts, a server that hangs or is away, and the error messages."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, replace
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from sqlalchemy import create_engine, func, insert, select, text, update

from app import subprocesses
from app.auth.key_cache import KeyCache
from app.auth.keys import KeyStore, Scope
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.postgres import ADVISORY_LOCK_ID, TimeoutConnection
from app.database.tables import Base, Event, Job, now
from app.database.time_outs import TIME_OUTS
from app.errors import NotReady
from app.server import server
from app.startup import StartupError, open_database
from app.train.supervisor import lease
from tests.database import before_revisions
from tests.database.test_store import add, job
from tests.postgres import (
    FAST_SETTINGS,
    LONG_TIME_OUTS,
    PASSWORD,
    POSTGRESQL_ONLY,
    open_as_in_production,
    run_postgres,
)

DATABASES = POSTGRESQL_ONLY
# No test waits for the time-outs of production.
QUICK_ANSWERS = replace(LONG_TIME_OUTS, connect=2, answer=0.3, transaction=2.0)
QUICK_LOCKS = replace(LONG_TIME_OUTS, lock=0.3)


@pytest.fixture(scope="module")
def stoppable_server():
    """A server that may be stopped, and runs again after each test."""
    with run_postgres(*FAST_SETTINGS) as server:
        yield server


@pytest.fixture
def stoppable_store(stoppable_server):
    with closing(Database(stoppable_server.fresh())) as database:
        yield JobStore(database)


def test_first_starts_at_the_same_time_are_no_race(postgres):
    url = postgres.fresh()
    with ThreadPoolExecutor(8) as pool:
        databases = list(pool.map(lambda _: Database(url), range(8)))
    assert JobStore(databases[0]).jobs() == []
    for database in databases:
        database.close()


def test_a_migration_by_another_is_waited_for_longer_than_any_lock(postgres):
    url = f"{postgres.fresh()}?options=-c%20lock_timeout%3D100"
    before_revisions.make(url)
    engine = create_engine(url)
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK_ID})"))
            future = pool.submit(Database, url, migrate=True)
            with pytest.raises(TimeoutError):
                future.result(0.5)
        database = future.result(240)
    assert database.schema.migrated
    database.close()
    engine.dispose()


def start_blocked_thread(store, work):
    """Start a thread, and return once it waits for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    thread = threading.Thread(target=work)
    thread.start()
    with store.database.engine.connect() as connection:
        while not connection.scalar(waiting):
            assert thread.is_alive(), "it waits its turn"
            connection.rollback()  # activity is looked at once a transaction
            time.sleep(0.01)
    return thread


def test_no_event_comes_with_a_smaller_number_than_one_that_was_seen(store):
    add(store, "a")
    last_number = store.events("a")[-1].number
    with store.database.engine.begin() as slow:
        slow.execute(update(Job).where(Job.id == "a").values(attempt=1))
        changes = {"values": {"attempt": 2}, "events": [("status", {})]}
        other = start_blocked_thread(store, lambda: store.change_job("a", **changes))
        # Now that the other waits: a number that it had taken already would be the smaller one.
        slow.execute(insert(Event).values(job_id="a", at=now(), kind="batch", data={}))
        assert store.events("a", after=last_number) == []
    other.join()
    assert [event.kind for event in store.events("a", after=last_number)] == ["batch", "status"]


def test_no_job_comes_with_a_smaller_number_than_one_that_was_seen(store):
    def hold_lock(slow):
        slow.add(job("first"))
        slow.flush()
        thread = start_blocked_thread(store, lambda: add(store, "second"))
        assert store.new_job_ids(()) == []
        return thread

    other = store.database.write_exclusively(hold_lock)
    other.join()
    assert store.new_job_ids(()) == ["first", "second"]


def test_numbers_do_not_end_at_two_billion(store):
    add(store, "a")
    with store.database.engine.begin() as connection:
        connection.execute(text("ALTER SEQUENCE events_number_seq RESTART WITH 3000000000"))
    store.change_job("a", values={"attempt": 1}, events=[("batch", {})])
    assert store.events("a")[-1].number == 3_000_000_000
    assert store.events("a", after=2**63 - 1) == []


def test_a_server_that_crashed_and_came_back_is_not_noticed(stoppable_server, stoppable_store):
    add(stoppable_store, "a")
    stoppable_server.restart()
    assert stoppable_store.job("a").id == "a"
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda n: add(stoppable_store, f"b{n}"), range(8)))) == 8


def unavailable_reason(call):
    """Return the reason for which a call is refused."""
    with pytest.raises(NotReady) as excinfo:
        call()
    assert PASSWORD not in str(excinfo.value)
    return str(excinfo.value)


def test_no_wait_for_the_database_outlasts_the_lease():
    """What one wait may take is left of the lease's margin after the end of a process."""
    waits = (
        TIME_OUTS.pool,
        TIME_OUTS.answer + TIME_OUTS.connect,
        TIME_OUTS.transaction,
        TIME_OUTS.lock,
        TIME_OUTS.statement,
    )
    assert max(waits) < lease.SAFETY_MARGIN - subprocesses.EXIT_TIMEOUT


def test_a_server_that_is_away_or_hangs_is_told(stoppable_server):
    time_outs = SimpleNamespace(**asdict(LONG_TIME_OUTS))  # quick ones only while the server hangs
    with closing(Database(stoppable_server.fresh(), time_outs)) as database:
        store = JobStore(database)
        time_outs.transaction = QUICK_ANSWERS.transaction
        with store.database.engine.connect() as open_connection:
            time_outs.transaction = LONG_TIME_OUTS.transaction
            assert store.jobs() == [], "which leaves a connection in the pool"
            connecting = patch.object(TimeoutConnection, "connect", wraps=TimeoutConnection.connect)
            with stoppable_server.hanging(), connecting as connect:
                vars(time_outs).update(asdict(QUICK_ANSWERS))
                assert "does not answer" in unavailable_reason(store.jobs)
                assert connect.call_count == 1, "in place of the one that did not answer"
                assert "took too long" in unavailable_reason(
                    lambda: open_connection.execute(text("SELECT 1"))
                )
                vars(time_outs).update(asdict(LONG_TIME_OUTS))
        assert store.jobs() == []
        stoppable_server.stop()
        reason = unavailable_reason(lambda: add(store, "a"))
        assert "Connection refused" in reason
        assert str(stoppable_server.port) not in reason, (
            "clients need not know the address of the database"
        )
        stoppable_server.start()
        assert store.jobs() == []


def test_a_lock_that_another_holds_is_told(store, settings):
    add(store, "a")
    with (
        closing(Database(settings.database_url, QUICK_LOCKS)) as impatient,
        store.database.engine.begin() as other,
    ):
        other.execute(update(Job).values(attempt=7))
        reason = unavailable_reason(
            lambda: JobStore(impatient).change_job("a", values={"attempt": 1})
        )
    assert "lock timeout" in reason
    assert store.change_job("a", values={"attempt": 1})


def test_more_threads_than_connections_are_told(settings):
    with closing(Database(settings.database_url, replace(LONG_TIME_OUTS, pool=0.1))) as database:
        store = JobStore(database)
        connections = [store.database.engine.connect() for _ in range(15)]
        assert "Too many" in unavailable_reason(store.jobs)
        for connection in connections:
            connection.close()
        assert store.jobs() == []


def test_a_connection_that_a_thread_has_when_the_store_is_closed_is_closed_too(settings):
    database = open_database(settings)
    connection = database.engine.connect()
    raw = connection.connection.dbapi_connection
    database.close()
    assert not raw.closed
    connection.close()
    assert raw.closed


def test_tables_that_are_being_restored_are_told(store):
    with store.database.engine.begin() as connection:
        Base.metadata.drop_all(connection)
    assert "does not exist" in unavailable_reason(store.jobs)


def test_keys_that_are_known_open_while_the_database_is_away(stoppable_server, stoppable_store):
    keys = KeyStore(stoppable_store.database)
    cache = KeyCache(keys, None)
    key, whole = keys.create("ci", [Scope.TRAIN])
    cache.refresh()
    stoppable_server.stop()
    unavailable_reason(cache.refresh)
    assert cache.find(whole.encode()).id == key.id
    assert cache.find(whole[:-1].encode()) is None
    unavailable_reason(lambda: keys.create("new", [Scope.ADMIN]))
    stoppable_server.start()
    assert [row.id for row in keys.all()] == [key.id], "no half key"


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda url: url.replace(PASSWORD, "wrong"), "Check the user and the password"),
        (lambda url: url[:-1] + "none", "Create the database or the user first"),
        (lambda url: url.replace("+psycopg", "+asyncpg"), "supports only the driver psycopg"),
        (lambda url: url.replace("@127.0.0.1:", "@127.0.0.1:x"), "is not a URL"),
        (lambda url: url.replace("@127.0.0.1", "@nowhere.invalid"), "Check the host"),
        (lambda url: url.replace("@127.0.0.1", "@127.0.0.2"), "Check that PostgreSQL is running"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_to_do(settings, change, hint):
    wrong_settings = settings.model_copy(update={"database_url": change(settings.database_url)})
    with pytest.raises(StartupError, match="MYNET_DATABASE_URL cannot be used") as excinfo:
        open_database(wrong_settings)
    assert hint in str(excinfo.value)
    assert PASSWORD not in str(excinfo.value)


def test_without_the_driver_the_start_is_refused_in_words(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "app.database.postgres")
    monkeypatch.delattr("app.database.postgres")
    with pytest.raises(StartupError, match=r"pip install '\.\[postgres\]'"):
        open_database(settings)


def test_who_may_not_create_tables_is_told(settings, postgres):
    name = settings.database_url.rpartition("/")[2]
    postgres.sql(f"DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    url = settings.database_url.replace("//mynet:", "//guest:")
    guest = settings.model_copy(update={"database_url": url})
    postgres.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name)
    with pytest.raises(StartupError, match=r"permission denied for schema public.*GRANT CREATE"):
        open_database(guest)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_it_is_spoken_to_through_psycopg_however_it_is_written(settings, scheme):
    url = settings.database_url.replace("postgresql+psycopg", scheme)
    with closing(open_database(settings.model_copy(update={"database_url": url}))) as database:
        assert JobStore(database).jobs() == []


@pytest.fixture
def production_time_outs(monkeypatch):
    monkeypatch.setattr("app.database.engine._postgresql", open_as_in_production)


@pytest.mark.usefixtures("production_time_outs")
def test_the_server_gives_up_what_takes_too_long_or_is_left_alone(store):
    with store.database.engine.connect() as connection:
        timeouts = [
            connection.scalar(select(func.current_setting(name)))
            for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        ]
    assert timeouts == ["5s", "7s", "10s"]


@pytest.mark.usefixtures("production_time_outs")
def test_what_the_url_asks_of_the_server_holds(settings):
    url = f"{settings.database_url}?options=-c%20statement_timeout%3D1234"
    with closing(Database(url)) as database, database.engine.connect() as connection:
        timeouts = [
            connection.scalar(select(func.current_setting(name)))
            for name in ("statement_timeout", "lock_timeout")
        ]
    assert timeouts == ["1234ms", "5s"]


@pytest.mark.parametrize("form", ["//me:{}@h/n", "//h/n?user=me&password={}", "//me:{}%20x y@h/n"])
def test_the_settings_line_tells_no_password(settings, form):
    url = f"postgresql+psycopg:{form.format(PASSWORD)}"
    line = server._format_settings(settings.model_copy(update={"database_url": url}))
    assert "MYNET_DATABASE_URL=postgresql+psycopg://" in line
    assert PASSWORD not in line
