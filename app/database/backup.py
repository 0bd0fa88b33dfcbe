"""SQLite backup, repair, and the ballast file for a full disk.

`mynet.db.backup` is made anew after each change of a job's state and of a key. An operator who puts
an older database in place gets the older state, except for one thing: a key that was revoked since
stays revoked.
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

from app.atomic_files import TEMPORARY, atomic_replace
from app.database.sqlite import Damaged, to_service_error

BACKUP_TIMEOUT: Final = 10.0
CHANGE_QUERY: Final = """
    SELECT (SELECT group_concat(status || n)
            FROM (SELECT status, count(*) AS n FROM jobs GROUP BY status)),
           (SELECT count(*) || ' ' || count(finished_at) FROM sweeps),
           (SELECT count(*) || ' ' || count(revoked_at) FROM keys)
"""
STILL_REVOKED: Final = """
    UPDATE main.keys SET revoked_at = kept.revoked_at FROM kept.keys AS kept
    WHERE kept.id = main.keys.id AND main.keys.revoked_at IS NULL AND kept.revoked_at IS NOT NULL
"""
KEYS: Final = "SELECT 1 FROM kept.sqlite_master WHERE type = 'table' AND name = 'keys'"
NO_TABLES: Final = "has no tables"
ANY_TABLE: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table'"
log = logging.getLogger(__name__)


class Backup:
    """The copy beside one SQLite file."""

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
                log.error("%s %s: it is set aside, and its backup is taken", self.file, problem)
            _set_aside(self.file)
            with atomic_replace(self.file) as temporary:
                if _problem(self.copy) is None:
                    shutil.copyfile(self.copy, temporary)
                else:
                    _set_aside(self.copy)
                    temporary.touch()

    def keep_revoked(self) -> None:
        """Revoke the keys that the copy knows as revoked. Raises NotReady."""
        if _problem(self.copy) is not None:
            return
        with self.lock, _opened(self.file) as database:
            database.execute("ATTACH ? AS kept", [str(self.copy)])
            if database.execute(KEYS).fetchone():  # the copy may be older than the table
                revoked = database.execute(STILL_REVOKED).rowcount
                if revoked:
                    log.error(
                        "%s lacked %d revocations of keys: taken over from its backup",
                        self.file,
                        revoked,
                    )

    def back_up(self) -> None:
        """Make the copy anew where something that matters has changed. Raises NotReady, OSError."""
        with _opened(self.file) as database:
            summary = database.execute(CHANGE_QUERY).fetchone()
        if summary == self._last_backed_up and self.copy.exists():
            return
        self.keep_revoked()
        with self.lock, atomic_replace(self.copy) as temporary, _opened(self.file) as database:
            database.execute("VACUUM INTO ?", [str(temporary)])
        self._last_backed_up = summary

    def set_aside_before(self, revision: str) -> Path:
        """Keep a copy of the file as it is at this revision, and return where. What was kept at an
        earlier time stays, and is returned where it is the same. Raises NotReady, OSError.
        """
        first = Path(f"{self.file}.before-{revision}")
        others = (first.with_name(f"{first.name}-{number}") for number in count(2))
        with self.lock, self._copied() as copy:
            for path in chain([first], others):
                if not path.exists():
                    with atomic_replace(path) as temporary:
                        copy.rename(temporary)
                    return path
                if filecmp.cmp(copy, path, shallow=False):
                    return path
        raise AssertionError("the numbers do not end")

    @contextmanager
    def _copied(self) -> Iterator[Path]:
        """Hand out a copy that goes on leaving, unless it is taken."""
        copy = self.file.with_name(f".{self.file.name}.{secrets.token_hex(4)}{TEMPORARY}")
        try:
            with _opened(self.file) as database:
                database.execute("VACUUM INTO ?", [str(copy)])
            yield copy
        finally:
            copy.unlink(missing_ok=True)


def _set_aside(file: Path) -> None:
    # The database first: nobody opens what is gone, and none of its parts may lie beside another
    # database.
    at = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = f"{file}.broken-{at}-{secrets.token_hex(2)}"
    for part in ("", "-wal", "-shm"):
        path = Path(f"{file}{part}")
        if path.exists():
            path.rename(f"{aside}{part}")


def _problem(file: Path) -> str | None:
    """Return what is wrong with a database; None where nothing is. Raises NotReady."""
    if not file.exists():
        return "is gone"
    try:
        with closing(_connect(file)) as database:
            (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if said == "ok" and database.execute(ANY_TABLE).fetchone() is None:
                return NO_TABLES
    except sqlite3.DatabaseError as error:
        refusal = to_service_error(error)
        if not isinstance(refusal, Damaged):
            raise refusal from error
        said = str(error)
    return None if said == "ok" else f"is damaged ({said})"


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(_connect(file)) as database:
            yield database
    except sqlite3.DatabaseError as error:
        raise to_service_error(error) from error


def _connect(file: Path) -> sqlite3.Connection:
    uri = f"{file.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=BACKUP_TIMEOUT, isolation_level=None)


SIZE: Final = 4 * 1024**2


class BallastFile:
    """A file of zeros, four mebibytes, in the name of those who write beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def allocate(self) -> None:
        """Make the file where it is missing and there is room for it."""
        if self.path.exists():
            return
        try:
            with atomic_replace(self.path) as temporary:
                temporary.write_bytes(bytes(SIZE))
        except OSError as error:
            log.warning("there is no room for %s: %s", self.path, error)

    def give_up(self) -> bool:
        """Remove the file, and say whether it was there."""
        try:
            self.path.unlink()
        except OSError:
            return False
        log.error("the disk is full: %s was given up to tell of it", self.path)
        return True
