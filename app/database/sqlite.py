"""SQLite below SQLAlchemy: how its connections begin, and what goes wrong with it, in words.

What enters: an engine, and the file behind it. What leaves: connections that are always of the file
that lies there now, or NotReady. This module does not know what is kept in the file.
"""

import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, ExceptionContext
from sqlalchemy.exc import DisconnectionError, OperationalError

from app.atomic_files import make_folder
from app.errors import NotReady

PRAGMAS: Final = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
EMPTY: Final = "no such table"


class DiskFull(NotReady):
    """There is no room for what was to be written."""


class Damaged(NotReady):
    """The file is no sound database, or it is gone."""

    def __init__(self, problem: object) -> None:
        super().__init__(
            f"The database is damaged: {problem}. The service sets it aside and takes its backup; "
            "predictions go on.",
            retry_after=5,
        )


def prepare(engine: Engine, file: Path) -> None:
    """Open this file, which must exist, for the engine's connections, with safe writes."""
    make_folder(file.parent)

    @event.listens_for(engine, "do_connect")
    def open_only(_dialect: object, _record: object, cargs: list[Any], cparams: Any) -> None:
        # Never made here: an empty one in place of the one that is gone would look like the truth.
        if not file.exists():
            raise Damaged(f"{file.name} is gone")
        cargs[:] = [f"{file.absolute().as_uri()}?mode=rw"]
        cparams["uri"] = True

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        record.info["inode"] = _inode(file)
        connection.isolation_level = None  # transactions begin where `begin` says, not by magic
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "checkout")
    def check_inode(_connection: object, record: Any, _proxy: object) -> None:
        # What is written to a file that was removed or replaced would be lost.
        if record.info["inode"] != _inode(file):
            raise DisconnectionError

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that will write must say so at once: one that reads first and writes later
        # is refused, without any waiting, where another wrote in between.
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def translate_error(context: ExceptionContext) -> None:
    """Raises NotReady for what a database says that cannot be used now."""
    original = context.original_exception
    refusal = to_service_error(original)
    unusable = isinstance(context.sqlalchemy_exception, OperationalError)
    if unusable or isinstance(refusal, Damaged):
        raise refusal from original


def to_service_error(error: BaseException) -> NotReady:
    """Return what is wrong with a database that cannot be used now."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in DAMAGED or EMPTY in str(error):
        return Damaged(error)
    refusal = DiskFull if code == sqlite3.SQLITE_FULL else NotReady
    return refusal(f"The database does not answer: {error}.", retry_after=5)


def _inode(file: Path) -> int:
    try:
        return file.stat().st_ino
    except FileNotFoundError:
        raise Damaged(f"{file.name} is gone") from None
