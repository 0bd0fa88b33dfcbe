"""Which databases the code takes, and in which words it refuses the others."""

from contextlib import closing, contextmanager

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from app.database import migrate, schema
from app.database.comparison import differences
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.schema import BASELINE, REVISION, OutdatedSchema, SchemaMismatch
from app.database.tables import REVISION_TABLE, Base
from app.startup import StartupError, open_database
from tests.database import before_revisions
from tests.database.test_store import add
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES


@pytest.fixture
def url(settings, store):
    """The URL of a database with the tables of this code."""
    store.database.close()
    return settings.effective_database_url


@contextmanager
def connected(url):
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def change(url, *statements):
    """Do to the tables what an operator might."""
    with connected(url) as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_database_with_the_alembic_version_of_another_application_is_migrated(
    settings, database_url
):
    url = database_url or f"sqlite:///{settings.state_dir}/shared.db"
    settings.state_dir.mkdir(exist_ok=True)
    before_revisions.make(url)
    change(
        url,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
        "INSERT INTO alembic_version VALUES ('of-mlflow')",
    )
    with (
        closing(Database(url, migrate=True)) as database,
        database.engine.connect() as connection,
    ):
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "of-mlflow"
        query = text(f"SELECT version_num FROM {REVISION_TABLE.name}")
        assert connection.scalar(query) == REVISION


def test_the_scripts_make_the_tables_of_the_code(settings, database_url):
    url = database_url or f"sqlite:///{settings.state_dir}/scripts.db"
    settings.state_dir.mkdir(exist_ok=True)
    with connected(url) as connection:
        migrate.upgrade(connection)
        assert differences(connection, Base.metadata) == []
        options = {"compare_type": True, "version_table": REVISION_TABLE.name}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
    assert migrate.revisions()[0] == REVISION
    assert migrate.revisions()[-1] == BASELINE


def test_a_new_database_has_the_revision_of_the_code(url):
    with connected(url) as connection:
        schema.check(connection)
        assert connection.scalar(text("SELECT version_num FROM mynet_alembic_version")) == REVISION


def no_default(url):
    """Add a column that needs a value; SQLite has no statement for that."""
    if not url.startswith("sqlite"):
        return change(url, "ALTER TABLE jobs ADD COLUMN owner VARCHAR NOT NULL")
    sql = "replace(sql, 'error JSON', 'owner VARCHAR NOT NULL, error JSON')"
    return change(
        url,
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_master SET sql = {sql} WHERE name = 'jobs'",
    )


def other_type(url):
    change(
        url,
        "ALTER TABLE jobs DROP COLUMN attempt",
        "ALTER TABLE jobs ADD COLUMN attempt VARCHAR NOT NULL DEFAULT '0'",
    )


def statements(*sql_statements):
    return lambda url: change(url, *sql_statements)


MANGLED = {
    "no column": (
        statements("ALTER TABLE jobs DROP COLUMN progress"),
        "jobs.progress is missing",
    ),
    "other name": (
        statements("ALTER TABLE keys RENAME COLUMN digest TO sha256"),
        "keys.digest is missing",
    ),
    "no table": (statements("DROP TABLE sweep_jobs"), "sweep_jobs is missing"),
    "no default": (no_default, "jobs.owner needs a value and has no default"),
    "other type": (other_type, "jobs.attempt is VARCHAR"),
    "may be NULL": (
        statements(
            "ALTER TABLE keys DROP COLUMN name",
            "ALTER TABLE keys ADD COLUMN name VARCHAR",
        ),
        "keys.name may be NULL",
    ),
    "not unique": (
        statements(
            "DROP TABLE lease",
            "CREATE TABLE lease (id INTEGER NOT NULL, holder VARCHAR NOT NULL, expires_at "
            "TIMESTAMP NOT NULL)",
        ),
        "lease is not unique by (id)",
    ),
    "unique": (
        statements("CREATE UNIQUE INDEX once ON jobs (status)"),
        "jobs is unique by (status)",
    ),
}


@pytest.mark.parametrize("case", MANGLED)
def test_tables_that_are_not_those_of_their_revision_stop_the_start(settings, url, case):
    harm, message = MANGLED[case]
    harm(url)
    with pytest.raises(StartupError) as excinfo:
        open_database(settings, migrate=True)
    assert (
        f"do not match its revision {REVISION}, and this MyNet needs revision {REVISION}. "
        in str(excinfo.value)
    )
    assert message in str(excinfo.value)
    assert "restore a backup" in str(excinfo.value)
    assert "does not answer" not in str(excinfo.value)
    with pytest.raises(SchemaMismatch):
        Database(url)


def test_what_an_operator_added_without_harm_is_left_alone(settings, url):
    change(
        url,
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, note VARCHAR NOT NULL)",
        "ALTER TABLE jobs ADD COLUMN team VARCHAR",
        "ALTER TABLE jobs ADD COLUMN cost INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX by_time ON jobs (created_at)",
        "DROP INDEX ix_jobs_status",
        "CREATE UNIQUE INDEX job_states ON jobs (id, status)",
    )
    store = JobStore(open_database(settings, migrate=True))
    assert add(store, "a").id == "a"
    store.database.close()


def test_an_unknown_revision_is_taken_for_that_of_a_newer_release(settings, url):
    change(url, "UPDATE mynet_alembic_version SET version_num = '9999'")
    with pytest.raises(StartupError) as excinfo:
        open_database(settings, migrate=True)
    message = str(excinfo.value)
    assert "has revision 9999" in message
    assert f"its own is {REVISION}. " in message
    assert "Start that release or a newer one" in message
    assert "does not answer" not in message
    with pytest.raises(SchemaMismatch, match="A newer MyNet"):
        Database(url, migrate=True)


def test_tables_of_another_application_are_not_taken_for_older_ones(settings):
    settings.state_dir.mkdir()
    change(settings.effective_database_url, "CREATE TABLE jobs (id INTEGER PRIMARY KEY)")
    with pytest.raises(StartupError, match=r"first revision 0001, .*; and \d+ more"):
        open_database(settings, migrate=True)


@pytest.mark.parametrize("without", [(), ("keys",), ("traces", "sweep_jobs", "sweeps", "keys")])
def test_an_older_database_is_refused_where_nothing_may_migrate_it(settings, without):
    url = settings.effective_database_url
    before_revisions.make(url, without=without)
    message = f"has revision {BASELINE}, and this MyNet needs {REVISION}. Run `mynet db upgrade`"
    with pytest.raises(OutdatedSchema, match=message):
        Database(url)
    by_hand = settings.model_copy(update={"database_migrate": False})
    for chosen, migrating in ((by_hand, True), (settings, False)):
        with pytest.raises(StartupError, match=message):
            open_database(chosen, migrate=migrating)
    with connected(url) as connection, pytest.raises(OutdatedSchema):
        schema.check(connection)
