"""SQLite connections and error messages.

A connection always belongs to the file that has the path now, even if the file was replaced.
"""

import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, ExceptionContext
from sqlalchemy.exc import DisconnectionError, OperationalError

from app.atomic_files import make_folder
from app.errors import NotReady

PRAGMAS: Final = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
# Seconds to wait for another connection that sets up the journal, too, and between two attempts.
SETUP_TIMEOUT: Final = 10.0
SETUP_INTERVAL: Final = 0.01
CORRUPTION_CODES: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
NO_TABLE_MESSAGE: Final = "no such table"
# Modification time in nanoseconds, size in bytes and inode of each file.
Stamp = tuple[tuple[int, int, int], ...]


class DiskFull(NotReady):
    """The disk has no room for a write."""


class DatabaseCorrupt(NotReady):
    """The file is damaged or missing."""

    def __init__(self, problem: object) -> None:
        super().__init__(
            f"The database is damaged: {problem}. The service restores its backup, and predictions "
            "continue. Try again later.",
            retry_after=5,
        )


def prepare(engine: Engine, file: Path) -> None:
    """Configure the engine to open this existing file with durable writes."""
    make_folder(file.parent)

    @event.listens_for(engine, "do_connect")
    def open_existing(_dialect: object, _record: object, cargs: list[Any], cparams: Any) -> None:
        # SQLite must not create the file: an empty database would hide that the old one is missing.
        if not file.exists():
            raise DatabaseCorrupt(f"the file {file.name} is missing")
        cargs[:] = [f"{file.absolute().as_uri()}?mode=rw"]
        cparams["uri"] = True

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        record.info["inode"] = _inode(file)
        connection.isolation_level = None  # only `begin` starts transactions, not the driver
        for pragma in PRAGMAS:
            _set_up(connection, pragma)

    @event.listens_for(engine, "checkout")
    def check_inode(_connection: object, record: Any, _proxy: object) -> None:
        # Writes to a file that was removed or replaced would be lost.
        if record.info["inode"] != _inode(file):
            raise DisconnectionError

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that will write must say so at its start. SQLite rejects one that reads
        # first and writes later, without waiting, if another one wrote in between.
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _set_up(connection: sqlite3.Connection, pragma: str) -> None:
    """Execute a pragma. SQLite does not wait by itself if two connections set up the journal."""
    deadline = time.monotonic() + SETUP_TIMEOUT
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}")
            return
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(SETUP_INTERVAL)


def translate_error(context: ExceptionContext) -> None:
    """Raise NotReady if the error means that the database cannot be used now."""
    original = context.original_exception
    error = to_service_error(original)
    is_operational = isinstance(context.sqlalchemy_exception, OperationalError)
    if _code(original) == sqlite3.SQLITE_READONLY:
        context.is_disconnect = True  # the pool would hand this connection to the next write, too
    if is_operational or isinstance(error, DatabaseCorrupt):
        raise error from original


def to_service_error(error: BaseException) -> NotReady:
    """Return the domain error for an error of SQLite."""
    code = _code(error)
    if code in CORRUPTION_CODES or NO_TABLE_MESSAGE in str(error):
        return DatabaseCorrupt(error)
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(
            f"The disk of the database is full: {error}. Make room on the disk.", retry_after=5
        )
    if code == sqlite3.SQLITE_READONLY:  # SQLite opens a file for reading if it cannot for writing
        return NotReady(
            f"The database could not be opened for writing: {error}. Check its disk, and who may "
            "write the file.",
            retry_after=5,
        )
    return NotReady(f"The database does not answer: {error}.", retry_after=5)


def _code(error: BaseException | None) -> int:
    """Return the primary result code of SQLite, or 0 for another error."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def stamp(file: Path) -> Stamp:
    """Return a value that changes whenever a transaction is committed. It takes two system calls.

    Commits go to the write-ahead log, and a checkpoint moves them to the file.
    """
    return tuple(map(_status, (file, file.with_name(f"{file.name}-wal"))))


def _status(file: Path) -> tuple[int, int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino


def _inode(file: Path) -> int:
    try:
        return file.stat().st_ino
    except FileNotFoundError:
        raise DatabaseCorrupt(f"the file {file.name} is missing") from None
