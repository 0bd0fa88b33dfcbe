"""Database connection and transactions, with schema migration, backup and repair.

`JobStore`, `SweepStore`, `LeaseStore` and `KeyStore` read and write the rows through it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy.orm import Session, sessionmaker

from app.database import sqlite
from app.database.backup import Backup, BallastFile
from app.database.engine import open_engine
from app.database.schema import Schema
from app.database.sqlite import DatabaseCorrupt, DiskFull
from app.database.time_outs import TIME_OUTS, TimeOuts

ResultT = TypeVar("ResultT")


class Database:
    """The database behind a URL.

    An empty database gets its tables. A database of an older release is migrated if `migrate` is
    true, and rejected otherwise. A database whose tables differ from its revision is rejected.

    Every read and write raises NotReady if the database cannot be reached, or stays locked. If the
    disk of an SQLite file is full, the service accepts no new jobs, but it still records how jobs
    end: those writes may use the room of the ballast file.
    """

    def __init__(self, url: str, time_outs: TimeOuts = TIME_OUTS, *, migrate: bool = False) -> None:
        self.engine, self.file = open_engine(url, time_outs)
        self.ballast = BallastFile(Path(f"{self.file}.reserve")) if self.file else None
        self.backup = Backup(self.file) if self.file else None
        self.schema = Schema(self.engine, self.backup, migrate=migrate)
        immediate = self.engine.execution_options(immediate=True)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._write_sessions = sessionmaker(immediate, expire_on_commit=False)
        self._exclusive_sessions = sessionmaker(
            immediate.execution_options(exclusive=True), expire_on_commit=False
        )
        try:
            self._prepare()
        except Exception:
            self.close()
            raise

    def _prepare(self) -> None:
        try:
            self.schema.prepare()
        except DatabaseCorrupt:  # a file can be damaged before the first start
            self.repair()

    def read(self) -> Session:
        """Return a session for reading; use it as a context."""
        return self._sessions()

    def write(self, work: Callable[[Session], ResultT], *, vital: bool = False) -> ResultT:
        """Run `work` in a transaction that writes, and return its result.

        If the disk is full, a `vital` write deletes the ballast file and runs again.
        """
        try:
            with self._write_sessions.begin() as session:
                return work(session)
        except DiskFull:
            if not (vital and self.ballast and self.ballast.delete()):
                raise
        return self.write(work)

    def write_exclusively(self, work: Callable[[Session], ResultT]) -> ResultT:
        """Run `work` in a transaction that excludes other exclusive ones, in any process."""
        with self._exclusive_sessions.begin() as session:
            return work(session)

    def stamp(self) -> sqlite.Stamp | None:
        """Return a value that changes with each transaction of any process.

        It is None if there is no such value, as with PostgreSQL.
        """
        return sqlite.stamp(self.file) if self.file else None

    def repair(self) -> None:
        """Restore a damaged SQLite file from its backup. The backup may be older.

        Raises NotReady, OSError.
        """
        if self.backup:
            self.backup.restore_if_damaged()
            self.schema.prepare()
            self.backup.restore_revocations()

    def close(self) -> None:
        self.engine.dispose()
