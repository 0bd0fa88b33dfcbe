"""A copy of the database, made whenever it matters, and what is done with it on bad days.

What enters: an SQLite file, in whatever state. What leaves: a sound one in its place that knows
every job which had ended and every key, as far as the copy does. Nothing is deleted: a damaged file
is set aside. This module does not know who writes to the file.

`mynet.db.backup` is made anew after each change of a job's state and of a key. An operator who puts
an older copy in place gets the rest back from it: what has ended stays ended, what was revoked
stays revoked.
"""

import logging
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock

from app.database.sqlite import Damaged, in_words
from app.durable import replacing

PATIENCE: Final = 10.0
MATTERS: Final = """
    SELECT (SELECT group_concat(status || n)
            FROM (SELECT status, count(*) AS n FROM jobs GROUP BY status)),
           (SELECT count(*) || ' ' || count(finished_at) FROM sweeps),
           (SELECT count(*) || ' ' || count(revoked_at) FROM keys)
"""
LACKING: Final = """
    CREATE TEMP TABLE lacking AS SELECT id FROM kept.jobs AS kept WHERE NOT EXISTS (
        SELECT 1 FROM main.jobs AS here WHERE here.id = kept.id
        AND (kept.finished_at IS NULL OR here.finished_at IS NOT NULL))
"""
# By the table that each needs of the copy, which may be older than the table.
BRING_IN: Final = (
    ("jobs", "DELETE FROM main.jobs WHERE id IN lacking"),
    ("jobs", "INSERT OR IGNORE INTO main.jobs SELECT * FROM kept.jobs WHERE id IN lacking"),
    (
        "events",
        "INSERT OR IGNORE INTO main.events SELECT * FROM kept.events WHERE job_id IN lacking",
    ),
    (
        "traces",
        "INSERT OR IGNORE INTO main.traces SELECT * FROM kept.traces WHERE job_id IN lacking",
    ),
    (
        "sweeps",
        """DELETE FROM main.sweeps WHERE finished_at IS NULL
           AND id IN (SELECT id FROM kept.sweeps WHERE finished_at IS NOT NULL)""",
    ),
    ("sweeps", "INSERT OR IGNORE INTO main.sweeps SELECT * FROM kept.sweeps"),
    ("sweep_jobs", "INSERT OR IGNORE INTO main.sweep_jobs SELECT * FROM kept.sweep_jobs"),
    ("keys", "INSERT OR IGNORE INTO main.keys SELECT * FROM kept.keys"),
    (
        "keys",
        """UPDATE main.keys SET revoked_at = kept.revoked_at FROM kept.keys AS kept
           WHERE kept.id = main.keys.id AND main.keys.revoked_at IS NULL""",
    ),
)
TABLES: Final = "SELECT name FROM kept.sqlite_master WHERE type = 'table'"
log = logging.getLogger(__name__)


class Backup:
    """The copy beside one SQLite file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.copy = Path(f"{file}.backup")
        self.lock = FileLock(f"{file}.lock")
        self._known: object = None

    def settle(self) -> None:
        """See that there is a sound file: where it is damaged or gone, the copy takes its place.

        Raises NotReady, OSError.
        """
        with self.lock:
            problem = _problem(self.file)
            if problem is None:
                return
            is_first = not (self.file.exists() or self.copy.exists())
            if not is_first:
                log.error("%s %s: it is set aside, and its backup is taken", self.file, problem)
            self._set_aside()
            with replacing(self.file) as temporary:
                if _problem(self.copy) is None:
                    shutil.copyfile(self.copy, temporary)
                else:
                    temporary.touch()

    def bring_in(self) -> None:
        """Bring in what the copy knows and the file lacks. Raises NotReady."""
        if _problem(self.copy) is not None:
            return
        with self.lock, _opened(self.file) as database:
            database.execute("ATTACH ? AS kept", [str(self.copy)])
            database.execute(LACKING)
            (number,) = database.execute("SELECT count(*) FROM lacking").fetchone()
            database.execute("BEGIN IMMEDIATE")
            known = {name for (name,) in database.execute(TABLES)}
            for table, statement in BRING_IN:
                if table in known:
                    database.execute(statement)
            database.execute("COMMIT")
            if number:
                log.error("%s lacked %d jobs that its backup knows: brought in", self.file, number)

    def keep(self) -> None:
        """Make the copy anew where something that matters has changed. Raises NotReady, OSError."""
        with _opened(self.file) as database:
            known = database.execute(MATTERS).fetchone()
        if known == self._known and self.copy.exists():
            return
        self.bring_in()
        with self.lock, replacing(self.copy) as temporary, _opened(self.file) as database:
            database.execute("VACUUM INTO ?", [str(temporary)])
        self._known = known

    def _set_aside(self) -> None:
        # The database first: nobody opens what is gone, and none of its parts may lie beside
        # another database.
        at = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        aside = f"{self.file}.broken-{at}-{secrets.token_hex(2)}"
        for part in ("", "-wal", "-shm"):
            path = Path(f"{self.file}{part}")
            if path.exists():
                path.rename(f"{aside}{part}")


def _problem(file: Path) -> str | None:
    """Say what is wrong with a database; None where nothing is. Raises NotReady."""
    if not file.exists():
        return "is gone"
    try:
        with closing(_connect(file)) as database:
            (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
            database.execute("SELECT 1 FROM jobs")
    except sqlite3.DatabaseError as error:
        refusal = in_words(error)
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
        raise in_words(error) from error


def _connect(file: Path) -> sqlite3.Connection:
    uri = f"{file.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)
