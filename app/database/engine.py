"""What a database URL leads to: an SQLite file, PostgreSQL, or what else SQLAlchemy knows.

What enters: a URL. What leaves: an engine, whose refusals are NotReady, and what to do about one
that cannot be had. This module does not know what is kept there.

A transaction says in the engine's options what it needs: `immediate` if it will write, `exclusive`
if no other exclusive one may run beside it. SQLite has one writer at a time anyway.
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

# Seconds that a thread waits for its turn where many use an SQLite file.
POOL_TIMEOUT: Final = 10.0
# As platforms write it, and as SQLAlchemy does; which driver that is depends on its version.
POSTGRESQL: Final = ("postgres", "postgresql", "postgresql+psycopg")
EXAMPLE: Final = "postgresql+psycopg://user:password@host/name"
# What is said by PostgreSQL, and what to do about it.
DRIVER: Final = "PostgreSQL's driver is an extra: pip install '.[postgres]'."
ADVICE: Final = {
    "password authentication failed": "Check user and password; in a URL, @ in one is %40, / %2F.",
    "no password supplied": f"Put it into the URL: {EXAMPLE}.",
    "permission denied": "Let the user create tables: GRANT CREATE ON SCHEMA public TO …;",
    "Connection refused": "Is PostgreSQL running there?",
    "timeout expired": "Is PostgreSQL running there, and may it be reached from here?",
    "resolve": "Check the host.",
    "does not exist": "Create it first, with createdb or createuser.",
}


class Pool(QueuePool):
    """Connections, of which there are so many; who gets none in time is told so."""

    __module__ = QueuePool.__module__  # what it logs goes where its parent's goes

    def connect(self) -> PoolProxiedConnection:
        try:
            return super().connect()
        except PoolTimeout as error:
            raise NotReady("The database is asked by too many at once.", retry_after=5) from error


def redacted(url: str) -> str:
    """Return a URL without its password; nothing of it, where that may be anywhere."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "***"
    if "@" in f"{parsed.host}{parsed.database}":  # the password has one, and ended before its end
        return "***"
    return redact(parsed.render_as_string(hide_password=True))


def from_anywhere(url: str) -> str:
    """Return a URL that leads to the same file from any working directory, where it is a path's."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # who opens it says so
        return url
    file = parsed.database
    if parsed.get_backend_name() != "sqlite" or not file or file.startswith((":", "file:")):
        return url
    absolute = parsed.set(database=str(Path(file).absolute()))
    return absolute.render_as_string(hide_password=False)


def open_engine(url: str, time_outs: TimeOuts = TIME_OUTS) -> tuple[Engine, Path | None]:
    """Return the engine, and the file behind it where it is SQLite's.

    Raises ValueError, ImportError, SQLAlchemyError where the URL cannot be used.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # which quotes it, and a password may be in it
        raise ValueError(f"it is no URL, as {EXAMPLE} is.") from None
    if parsed.drivername in POSTGRESQL:
        return _postgresql(parsed, time_outs), None
    if parsed.get_backend_name() in POSTGRESQL:
        raise ValueError(f"MyNet speaks to PostgreSQL through psycopg: {EXAMPLE}.")
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
    """Return what to do about what a database said, or what is missing to ask it."""
    if isinstance(problem, ImportError) and "psycopg" in str(problem):
        return DRIVER
    return next((words for said, words in ADVICE.items() if said in str(problem)), "")


def _postgresql(url: URL, time_outs: TimeOuts) -> Engine:
    from app.database import postgres  # an extra

    return postgres.open_engine(url.set(drivername="postgresql+psycopg"), Pool, time_outs)
