"""SQLAlchemy engines for a database URL: SQLite, PostgreSQL, or another database.

Execution options of the engine select the kind of a transaction: `immediate` if it will write,
`exclusive` if no other exclusive transaction may run at the same time. SQLite has one writer at a
time anyway.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from app.database import sqlite
from app.database.time_outs import TIME_OUTS, TimeOuts
from app.errors import NotReady
from app.telemetry.logs import redact

# Seconds that a thread waits for a pooled connection to an SQLite file.
POOL_TIMEOUT: Final = 10.0
# Hosting platforms write the first, SQLAlchemy the others. SQLAlchemy's default driver depends on
# its version.
POSTGRESQL: Final = ("postgres", "postgresql", "postgresql+psycopg")
EXAMPLE_URL: Final = "postgresql+psycopg://user:password@host/name"
DRIVER_HINT: Final = "Install the driver of PostgreSQL: pip install '.[postgres]'."
# Fragments of error messages -> remedy.
HINTS: Final = {
    "password authentication failed": "Check the user and the password; escape @ as %40, / as %2F.",
    "no password supplied": f"Add the password to the URL: {EXAMPLE_URL}.",
    "permission denied": "Allow the user to create tables: GRANT CREATE ON SCHEMA public TO …;",
    "Connection refused": "Check that PostgreSQL is running on that host and port.",
    "timeout expired": "Check that PostgreSQL is running, and that no firewall blocks it.",
    "resolve": "Check the host name in the URL.",
    "does not exist": "Create the database or the user first, with createdb or createuser.",
}


class Pool(QueuePool):
    """A bounded connection pool that raises NotReady if no connection becomes free in time."""

    __module__ = QueuePool.__module__  # SQLAlchemy names loggers by module: keep the parent's

    def connect(self) -> PoolProxiedConnection:
        try:
            return super().connect()
        except PoolTimeout as error:
            raise NotReady(
                "Too many concurrent database connections. Try again later.", retry_after=5
            ) from error


def redacted(url: str) -> str:
    """Return a URL without its password, or `***` if the URL cannot be parsed reliably."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "***"
    if (
        "@" in f"{parsed.host}{parsed.database}"
    ):  # an unescaped @ in the password: a part of it is in the host or the path
        return "***"
    return redact(parsed.render_as_string(hide_password=True))


def absolute_database_url(url: str) -> str:
    """Return a URL whose SQLite file has an absolute path. Other URLs are returned unchanged."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # `open_engine` reports it
        return url
    file = parsed.database
    if parsed.get_backend_name() != "sqlite" or not file or file.startswith((":", "file:")):
        return url
    absolute = parsed.set(database=str(Path(file).absolute()))
    return absolute.render_as_string(hide_password=False)


def open_engine(url: str, time_outs: TimeOuts = TIME_OUTS) -> tuple[Engine, Path | None]:
    """Return the engine, and the path of the database file if it is SQLite.

    Raises ValueError, ImportError, SQLAlchemyError if the URL cannot be used.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the message quotes the URL, which may contain a password
        raise ValueError(f"The value is not a URL. Write it like {EXAMPLE_URL}.") from None
    if parsed.drivername in POSTGRESQL:
        return _postgresql(parsed, time_outs), None
    if parsed.get_backend_name() in POSTGRESQL:
        raise ValueError(
            f"MyNet supports only the driver psycopg for PostgreSQL. Write {EXAMPLE_URL}."
        )
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database
    pool = {"poolclass": Pool, "pool_timeout": POOL_TIMEOUT} if is_file else {}
    engine = create_engine(parsed, **pool)
    event.listen(engine, "handle_error", sqlite.translate_error)
    if not is_file:
        return engine, None
    file = Path(str(parsed.database))
    sqlite.prepare(engine, file)
    return engine, file


def hint(problem: object) -> str:
    """Return the remedy for a database error or a missing driver; empty if none is known."""
    if isinstance(problem, ImportError) and "psycopg" in str(problem):
        return DRIVER_HINT
    return next((text for fragment, text in HINTS.items() if fragment in str(problem)), "")


def _postgresql(url: URL, time_outs: TimeOuts) -> Engine:
    from app.database import postgres  # needs the extra `postgres`

    return postgres.open_engine(url.set(drivername="postgresql+psycopg"), Pool, time_outs)
