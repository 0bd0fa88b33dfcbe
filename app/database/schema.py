"""Database schema check: creates, verifies or migrates the tables.

The first process creates the tables of an empty database. An older schema is migrated only if the
caller allows it. Any other difference raises SchemaMismatch, with the actual revision, the required
one and the remedy.

While a service runs, another service may migrate the database that they share. `recheck` detects
that. From then on, every transaction raises the same error until the schema matches again.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import (
    Connection,
    Engine,
    event,
    insert,
    inspect,
    select,
)

from app.database.backup import Backup
from app.database.comparison import differences
from app.database.sqlite import DatabaseCorrupt
from app.database.tables import REVISION_TABLE, Base
from app.errors import NotReady

# The revision of the newest script; a test compares them.
REVISION: Final = "0008"
# The assumed revision of a database that stores none.
BASELINE: Final = "0001"
# The most differences that a message lists.
MAX_LISTED_DIFFERENCES: Final = 5
HELP_HINT: Final = "See docs/how-to/upgrade.md."
log = logging.getLogger(__name__)


class SchemaMismatch(NotReady):
    """The tables of the database do not match this code."""


class OutdatedSchema(SchemaMismatch):
    """The tables are those of an older release and have not been migrated."""


class MigrationResult(NamedTuple):
    """The revisions before and after an upgrade, and the copy of the SQLite file before it."""

    before: str
    after: str
    copy: Path | None


class SchemaStatus(NamedTuple):
    """The revision of a database, the one that this code needs, and the problem if there is one."""

    revision: str | None
    needed: str
    problem: str | None


class Schema:
    """The schema of a database. An older one is migrated only if `migrate` is true."""

    def __init__(self, engine: Engine, backup: Backup | None, *, migrate: bool) -> None:
        self.backup, self.migrate = backup, migrate
        self.problem: str | None = None
        self.migrated: MigrationResult | None = None
        # `_reject_mismatch` ignores this engine. `exclusive` selects the time-outs of a migration.
        self._engine = engine.execution_options(schema=True)
        self._exclusive_engine = self._engine.execution_options(immediate=True, exclusive=True)
        event.listen(engine, "begin", self._reject_mismatch, insert=True)

    def prepare(self) -> None:
        """Create or migrate the tables of this code. Raises SchemaMismatch, NotReady, OSError."""
        with self._engine.connect() as connection:
            is_ready = _revision(connection) == REVISION and _is_usable(connection)
        if not is_ready:  # perhaps another process is migrating: the lock waits for its end
            with self._locked(), self._exclusive_engine.begin() as connection:
                self._create_or_upgrade(connection)
        self.problem = None

    def recheck(self) -> None:
        """Check again whether the tables match this code, and update `problem`.

        If the database is unavailable, `problem` stays as it was. A damaged SQLite file is no
        schema problem: the supervisor repairs it.
        """
        try:
            problem = self._current_problem()
        except DatabaseCorrupt:
            problem = None
        except NotReady:
            return
        if problem and problem != self.problem:
            log.error("database schema does not match: problem=%s", problem)
        elif self.problem and not problem:
            log.info("database schema matches again: revision=%s", REVISION)
        self.problem = problem

    def _current_problem(self) -> str | None:
        with self._engine.connect() as connection:
            if self.backup and _is_empty(connection):
                raise DatabaseCorrupt("the file has no tables")
            try:
                check(connection)
            except SchemaMismatch as error:
                return str(error)
        return None

    def _reject_mismatch(self, connection: Connection) -> None:
        if self.problem and not connection.get_execution_options().get("schema"):
            raise SchemaMismatch(self.problem, retry_after=5)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the file lock of an SQLite database: other processes wait for a migration."""
        if self.backup is None:
            yield
            return
        with self.backup.lock:
            yield

    def _create_or_upgrade(self, connection: Connection) -> None:
        if _is_empty(connection):
            self._check_is_new(connection)
            Base.metadata.create_all(connection)
            REVISION_TABLE.create(connection, checkfirst=True)
            connection.execute(insert(REVISION_TABLE).values(version_num=REVISION))
            return
        try:
            check(connection)
        except OutdatedSchema:
            if not self.migrate:
                raise
            self._upgrade(connection)
            check(connection)

    def _check_is_new(self, connection: Connection) -> None:
        """Raise DatabaseCorrupt if the database is empty, but has a backup."""
        if self.backup and self.backup.copy.exists() and not inspect(connection).get_table_names():
            raise DatabaseCorrupt("the file has no tables")

    def _upgrade(self, connection: Connection) -> None:
        from app.database import migrate

        before = _revision(connection) or BASELINE
        copy = self.backup.set_aside_before(before) if self.backup else None
        migrate.upgrade(connection)
        self.migrated = MigrationResult(before, REVISION, copy)
        suffix = f" copy={copy}" if copy else ""
        log.info("database migrated: from=%s to=%s%s", before, REVISION, suffix)


def status_of(engine: Engine) -> SchemaStatus:
    """Return the status of the schema without changing it. Raises NotReady."""
    with engine.connect() as connection:
        try:
            check(connection)
            problem = None
        except SchemaMismatch as error:
            problem = str(error)
        return SchemaStatus(_revision(connection), REVISION, problem)


def check(connection: Connection) -> None:
    """Raise SchemaMismatch if the tables do not match, OutdatedSchema if they are older."""
    revision = _revision(connection)
    if revision != REVISION:
        raise _revision_mismatch(connection, revision)
    if mismatches := differences(connection, Base.metadata):
        raise _table_mismatch(revision, mismatches)


def _revision_mismatch(connection: Connection, revision: str | None) -> SchemaMismatch:
    from app.database import migrate

    if revision is not None and revision not in migrate.revisions():
        return SchemaMismatch(
            f"The database has revision {revision}, which this MyNet does not know; its own is "
            f"{REVISION}. A newer MyNet probably migrated the database. Start that release or a "
            f"newer one, or restore a backup from before the migration. {HELP_HINT}",
            retry_after=5,
        )
    if _is_empty(connection):
        return SchemaMismatch(
            f"The database has no tables, and this MyNet needs those of revision {REVISION}. "
            f"Restart the service to create them. {HELP_HINT}",
            retry_after=5,
        )
    expected = migrate.tables_at(revision or BASELINE)
    if mismatches := differences(connection, expected, allow_missing=revision is None):
        return _table_mismatch(revision, mismatches)
    return OutdatedSchema(
        f"The database has revision {revision or BASELINE}, and this MyNet needs {REVISION}. "
        "Run `mynet db upgrade`, or start the service without MYNET_DATABASE_MIGRATE=false. "
        f"{HELP_HINT}",
        retry_after=5,
    )


def _table_mismatch(revision: str | None, mismatches: list[str]) -> SchemaMismatch:
    listed = "; ".join(mismatches[:MAX_LISTED_DIFFERENCES])
    extra = (
        f"; and {len(mismatches) - MAX_LISTED_DIFFERENCES} more"
        if len(mismatches) > MAX_LISTED_DIFFERENCES
        else ""
    )
    source = f"its revision {revision}" if revision else f"the first revision {BASELINE}"
    return SchemaMismatch(
        f"The tables of the database do not match {source}, and this MyNet needs revision "
        f"{REVISION}. Differences: {listed}{extra}. Undo the change, or restore a backup. "
        f"{HELP_HINT}",
        retry_after=5,
    )


def _revision(connection: Connection) -> str | None:
    """Return the revision that is stored in the database, or None."""
    if not inspect(connection).has_table(REVISION_TABLE.name):
        return None
    revisions = connection.scalars(select(REVISION_TABLE.c.version_num)).all()
    return " and ".join(sorted(revisions)) or None


def _is_empty(connection: Connection) -> bool:
    """Return whether the database has no tables of MyNet."""
    names = set(inspect(connection).get_table_names())
    return _revision(connection) is None and not names & set(Base.metadata.tables)


def _is_usable(connection: Connection) -> bool:
    return not differences(connection, Base.metadata)
