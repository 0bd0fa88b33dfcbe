"""The schema of a database: which revision it has, and whether this code can use it.

What enters: an engine. What leaves: tables that are those of this code, or SchemaMismatch, which
says what there is, what is needed, and what to do. An empty database gets its tables by whichever
process comes first; one of an older release is migrated only where the caller says so. This module
does not know how the scripts run, nor what the tables hold.

While a service runs, another may migrate the database that they share. `recheck` finds that, and
from then on every transaction is refused in the same words, until the schema is this code's again.
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
from app.database.sqlite import Damaged
from app.database.tables import REVISION_TABLE, Base
from app.errors import NotReady

# What the newest script makes; a test compares.
REVISION: Final = "0003"
# What a database has that does not say its revision.
BASELINE: Final = "0001"
# Differences that a message lists.
MAX_LISTED_DIFFERENCES: Final = 5
HELP: Final = "See docs/how-to/upgrade.md."
log = logging.getLogger(__name__)


class SchemaMismatch(NotReady):
    """The tables of the database are not those of this code."""


class Older(SchemaMismatch):
    """They are those of an older release, and nothing has migrated them."""


class Migrated(NamedTuple):
    """The revisions before and after an upgrade, and the copy of an SQLite file from before it."""

    before: str
    after: str
    copy: Path | None


class SchemaStatus(NamedTuple):
    """The revision that a database has, the one that this code needs, and what is not right."""

    revision: str | None
    needed: str
    problem: str | None


class Schema:
    """The schema behind an engine. `migrate` says whether an older one is brought up."""

    def __init__(self, engine: Engine, backup: Backup | None, *, migrate: bool) -> None:
        self.backup, self.migrate = backup, migrate
        self.problem: str | None = None
        self.migrated: Migrated | None = None
        # Not refused by `_refuse`; with `exclusive`, also with as much time as a migration takes.
        self._engine = engine.execution_options(schema=True)
        self._exclusive_engine = self._engine.execution_options(immediate=True, exclusive=True)
        event.listen(engine, "begin", self._refuse, insert=True)

    def prepare(self) -> None:
        """Create or migrate the tables of this code. Raises SchemaMismatch, NotReady, OSError."""
        with self._engine.connect() as connection:
            is_ready = _revision(connection) == REVISION and _is_usable(connection)
        if not is_ready:  # perhaps since another migrates them just now: only its end tells
            with self._locked(), self._exclusive_engine.begin() as connection:
                self._bring_up(connection)
        self.problem = None

    def recheck(self) -> None:
        """Find out whether the tables are still those of this code; `problem` says what is not.

        While the database is away, that stays as it was. A damaged SQLite file is no matter of its
        schema: whoever comes upon the damage mends it.
        """
        try:
            problem = self._current_problem()
        except Damaged:
            problem = None
        except NotReady:
            return
        if problem and problem != self.problem:
            log.error("%s", problem)
        elif self.problem and not problem:
            log.info("the tables of the database are those of this code again")
        self.problem = problem

    def _current_problem(self) -> str | None:
        with self._engine.connect() as connection:
            if self.backup and _is_empty(connection):
                raise Damaged("it has no tables")
            try:
                check(connection)
            except SchemaMismatch as error:
                return str(error)
        return None

    def _refuse(self, connection: Connection) -> None:
        if self.problem and not connection.get_execution_options().get("schema"):
            raise SchemaMismatch(self.problem, retry_after=5)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock beside an SQLite file: however long a migration takes, others wait."""
        if self.backup is None:
            yield
            return
        with self.backup.lock:
            yield

    def _bring_up(self, connection: Connection) -> None:
        if _is_empty(connection):
            self._check_is_new(connection)
            Base.metadata.create_all(connection)
            REVISION_TABLE.create(connection, checkfirst=True)
            connection.execute(insert(REVISION_TABLE).values(version_num=REVISION))
            return
        try:
            check(connection)
        except Older:
            if not self.migrate:
                raise
            self._upgrade(connection)
            check(connection)

    def _check_is_new(self, connection: Connection) -> None:
        """Raises CorruptCheckpoint where nothing is left of what there is a backup of."""
        if self.backup and self.backup.copy.exists() and not inspect(connection).get_table_names():
            raise Damaged("it has no tables")

    def _upgrade(self, connection: Connection) -> None:
        from app.database import migrate

        before = _revision(connection) or BASELINE
        copy = self.backup.set_aside_before(before) if self.backup else None
        migrate.upgrade(connection)
        self.migrated = Migrated(before, REVISION, copy)
        where = f"; as it was before: {copy}" if copy else ""
        log.info("the database is brought from revision %s to %s%s", before, REVISION, where)


def status_of(engine: Engine) -> SchemaStatus:
    """Return what there is, and change nothing. Raises NotReady."""
    with engine.connect() as connection:
        try:
            check(connection)
            problem = None
        except SchemaMismatch as error:
            problem = str(error)
        return SchemaStatus(_revision(connection), REVISION, problem)


def check(connection: Connection) -> None:
    """Raises SchemaMismatch where the tables are not those of this code, Older among it."""
    revision = _revision(connection)
    if revision != REVISION:
        raise _other(connection, revision)
    if mismatches := differences(connection, Base.metadata):
        raise _mangled(revision, mismatches)


def _other(connection: Connection, revision: str | None) -> SchemaMismatch:
    from app.database import migrate

    if revision is not None and revision not in migrate.revisions():
        return SchemaMismatch(
            f"The database has revision {revision}, which this MyNet, whose own is {REVISION}, "
            "does not know: it is taken for that of a newer MyNet. Start that release, or one "
            f"that is newer still, or put back the database from before it. {HELP}",
            retry_after=5,
        )
    if _is_empty(connection):
        return SchemaMismatch(
            f"The database has no tables; this MyNet needs those of revision {REVISION}: start it "
            f"again, and it makes them. {HELP}",
            retry_after=5,
        )
    expected = migrate.tables_at(revision or BASELINE)
    if mismatches := differences(connection, expected, partly=revision is None):
        return _mangled(revision, mismatches)
    return Older(
        f"The database has revision {revision or BASELINE}, and this MyNet needs {REVISION}: "
        "`mynet db upgrade` brings it up, and so does a start of the service where "
        f"MYNET_DATABASE_MIGRATE is not false. {HELP}",
        retry_after=5,
    )


def _mangled(revision: str | None, mismatches: list[str]) -> SchemaMismatch:
    listed = "; ".join(mismatches[:MAX_LISTED_DIFFERENCES])
    more = (
        f"; and {len(mismatches) - MAX_LISTED_DIFFERENCES} more"
        if len(mismatches) > MAX_LISTED_DIFFERENCES
        else ""
    )
    what = f"its revision {revision}" if revision else f"the first revision, {BASELINE}, since none"
    return SchemaMismatch(
        f"The tables of the database are not what {what} says, and this MyNet needs revision "
        f"{REVISION}: {listed}{more}. Undo the change, or put back a backup. {HELP}",
        retry_after=5,
    )


def _revision(connection: Connection) -> str | None:
    """Return the revision that the database says it has."""
    if not inspect(connection).has_table(REVISION_TABLE.name):
        return None
    revisions = connection.scalars(select(REVISION_TABLE.c.version_num)).all()
    return " and ".join(sorted(revisions)) or None


def _is_empty(connection: Connection) -> bool:
    """Return whether nothing is there of any MyNet."""
    names = set(inspect(connection).get_table_names())
    return _revision(connection) is None and not names & set(Base.metadata.tables)


def _is_usable(connection: Connection) -> bool:
    return not differences(connection, Base.metadata)
