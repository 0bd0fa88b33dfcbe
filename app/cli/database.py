"""The database of the state folder, for verbs about keys and about the schema."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from app.auth.keys import KeyStore
from app.cli import context
from app.database.database import Database
from app.database.schema import MigrationResult
from app.startup import STARTUP_ERRORS, open_database
from app.telemetry import logs


@contextmanager
def open_keys(*, with_backup: bool = False) -> Iterator[KeyStore]:
    """Open the keys. With `with_backup`, back the database up at the end: perhaps no service runs
    that would do it later.
    """
    with _open_database() as database:
        yield KeyStore(database)
        if with_backup and database.backup:
            database.backup.back_up()


def migrate() -> MigrationResult | None:
    """Migrate the database to this code's revision, and return what was done."""
    with _open_database(migrate=True) as database:
        return database.schema.migrated


@contextmanager
def _open_database(*, migrate: bool = False) -> Iterator[Database]:
    settings = context.settings()
    logs.configure(settings.log_level, settings.log_format)
    if migrate:
        settings = settings.model_copy(update={"database_migrate": True})
    try:
        with closing(open_database(settings, migrate=migrate)) as database:
            yield database
    except STARTUP_ERRORS as error:
        raise context.failure(context.describe(error)) from None
