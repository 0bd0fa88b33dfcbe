"""SQLite backup, repair, and the ballast file for a full disk.

The supervisor renews `mynet.db.backup` after each change of the state of a job, a sweep, a key or a
data set.
If the operator restores an older database, it keeps its older state with one exception: keys that
were revoked since stay revoked.
"""

import filecmp
import logging
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Final

from filelock import FileLock

from app.atomic_files import SQLITE_JOURNAL, TEMPORARY, atomic_replace
from app.database.sqlite import DatabaseCorrupt, to_service_error

BACKUP_TIMEOUT: Final = 10.0
CHANGE_QUERY: Final = """
    SELECT (SELECT group_concat(status || n)
            FROM (SELECT status, count(*) AS n FROM jobs GROUP BY status)),
           (SELECT count(*) || ' ' || count(finished_at) FROM sweeps),
           (SELECT count(*) || ' ' || count(revoked_at) FROM keys),
           (SELECT count(*) || ' ' || count(name) FROM datasets)
"""
REVOKE_QUERY: Final = """
    UPDATE main.keys SET revoked_at = copied.revoked_at FROM copy.keys AS copied
    WHERE copied.id = main.keys.id AND main.keys.revoked_at IS NULL
    AND copied.revoked_at IS NOT NULL
"""
KEYS_TABLE_QUERY: Final = "SELECT 1 FROM copy.sqlite_master WHERE type = 'table' AND name = 'keys'"
NO_TABLES: Final = "the file has no tables"
TABLES_QUERY: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table'"
log = logging.getLogger(__name__)


class Backup:
    """The backup of one SQLite file, in the same folder."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.copy = Path(f"{file}.backup")
        self.lock = FileLock(f"{file}.lock")
        self._last_backed_up: object = None

    def restore_if_damaged(self) -> None:
        """Restore the file from its copy if it is damaged or missing.

        Raises NotReady, OSError.
        """
        with self.lock:
            problem = _problem(self.file)
            has_copy = self.copy.exists()
            if problem is None or (problem == NO_TABLES and not has_copy):
                return
            is_first = not (self.file.exists() or has_copy)
            if not is_first:
                log.error("database restored from backup: file=%s problem=%s", self.file, problem)
            _set_aside(self.file)
            with atomic_replace(self.file) as temporary:
                if _problem(self.copy) is None:
                    shutil.copyfile(self.copy, temporary)
                else:
                    _set_aside(self.copy)
                    temporary.touch()

    def restore_revocations(self) -> None:
        """Revoke the keys that are revoked in the backup. Raises NotReady."""
        if _problem(self.copy) is not None:
            return
        with self.lock, _connection(self.file) as database:
            database.execute("ATTACH ? AS copy", [str(self.copy)])
            if database.execute(
                KEYS_TABLE_QUERY
            ).fetchone():  # the backup may be older than the table
                revoked = database.execute(REVOKE_QUERY).rowcount
                if revoked:
                    log.error(
                        "key revocations restored from backup: file=%s keys=%d",
                        self.file,
                        revoked,
                    )

    def back_up(self) -> None:
        """Renew the backup if one of these has changed. Raises NotReady, OSError."""
        with _connection(self.file) as database:
            summary = database.execute(CHANGE_QUERY).fetchone()
        if summary == self._last_backed_up and self.copy.exists():
            return
        self.restore_revocations()
        with self.lock, atomic_replace(self.copy) as temporary:
            _copy(self.file, temporary)
        self._last_backed_up = summary

    def set_aside_before(self, revision: str) -> Path:
        """Copy the file before an upgrade from `revision`, and return the path of the copy.

        Earlier copies stay. If one of them has the same content, its path is returned.

        Raises NotReady, OSError.
        """
        first = Path(f"{self.file}.before-{revision}")
        others = (first.with_name(f"{first.name}-{number}") for number in count(2))
        with self.lock, self._temporary_copy() as copy:
            for path in chain([first], others):
                if not path.exists():
                    with atomic_replace(path) as temporary:
                        copy.rename(temporary)
                    return path
                if filecmp.cmp(copy, path, shallow=False):
                    return path
        raise AssertionError("count() never ends.")

    @contextmanager
    def _temporary_copy(self) -> Iterator[Path]:
        """Yield the path of a copy of the database. It is deleted at the end, unless renamed."""
        copy = self.file.with_name(f".{self.file.name}.{secrets.token_hex(4)}{TEMPORARY}")
        try:
            _copy(self.file, copy)
            yield copy
        finally:
            copy.unlink(missing_ok=True)


def _copy(file: Path, target: Path) -> None:
    """Copy a database that others may write. Raises NotReady."""
    try:
        with _connection(file) as database:
            database.execute("VACUUM INTO ?", [str(target)])
    finally:  # SQLite ignores that its journal could not be deleted
        Path(f"{target}{SQLITE_JOURNAL}").unlink(missing_ok=True)


def _set_aside(file: Path) -> None:
    # Rename the database first: a missing file is never opened, and SQLite would apply a WAL file
    # to any database with the same name.
    timestamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = f"{file}.broken-{timestamp}-{secrets.token_hex(2)}"
    for part in ("", "-wal", "-shm"):
        path = Path(f"{file}{part}")
        if path.exists():
            path.rename(f"{aside}{part}")


def _problem(file: Path) -> str | None:
    """Return the problem of a database file, or None if it is sound. Raises NotReady."""
    if not file.exists():
        return "the file is missing"
    try:
        with closing(_connect(file)) as database:
            (message,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if message == "ok" and database.execute(TABLES_QUERY).fetchone() is None:
                return NO_TABLES
    except sqlite3.DatabaseError as error:
        translated = to_service_error(error)
        if not isinstance(translated, DatabaseCorrupt):
            raise translated from error
        message = str(error)
    return None if message == "ok" else f"the file is damaged ({message})"


@contextmanager
def _connection(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(_connect(file)) as database:
            yield database
    except sqlite3.DatabaseError as error:
        raise to_service_error(error) from error


def _connect(file: Path) -> sqlite3.Connection:
    uri = f"{file.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=BACKUP_TIMEOUT, isolation_level=None)


BALLAST_BYTES: Final = 4 * 1024**2


class BallastFile:
    """Four mebibytes of zeros, deleted to make room for vital writes if the disk is full."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def allocate(self) -> None:
        """Create the file if it is missing and the disk has room for it."""
        if self.path.exists():
            return
        try:
            with atomic_replace(self.path) as temporary:
                temporary.write_bytes(bytes(BALLAST_BYTES))
        except OSError as error:
            log.warning("ballast file could not be written: file=%s error=%s", self.path, error)

    def delete(self) -> bool:
        """Delete the file, and return whether it existed."""
        try:
            self.path.unlink()
        except OSError:
            return False
        log.error("disk is full, ballast file deleted: file=%s", self.path)
        return True
