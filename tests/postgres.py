"""A PostgreSQL of the tests' own: Debian's, in a temporary folder, on a free port.

Tests run on SQLite, unless their module says which `DATABASES` they are for.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.database.engine import _postgresql as open_as_in_production
from app.database.time_outs import TIME_OUTS, TimeOuts
from tests.programs import find_program
from tests.rigs.temporary_files import TEMPORARY_ROOT
from tests.service.running import free_port

POSTGRESQL_ONLY: Final = ("postgresql",)
ALL_DATABASES: Final = ("sqlite", *POSTGRESQL_ONLY)
USER: Final = "mynet"
PASSWORD: Final = "not-to-be-told"
# Safe if processes are killed, but not if the machine fails.
FAST_SETTINGS: Final = ("fsync=off", "full_page_writes=off")
# Where a test does not say otherwise: a busy machine may let a server wait for seconds.
LONG_TIME_OUTS: Final = TimeOuts(
    pool=120,
    connect=120,
    answer=120,
    transaction=120,
    lock=120,
    statement=120,
    idle_in_transaction=120,
)
SMALL_SETTINGS: Final = ("shared_buffers=32MB", "max_connections=60", "log_min_messages=warning")


class Postgres:
    """A server, as its own user, since it refuses to run as root."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.bin = Path(find_program("pg_ctl")).parent
        self.folder, self.port, self.settings = folder, free_port(), settings
        self._numbers = count()
        self._emptied: list[str] = []
        secret = folder / "password"
        secret.write_text(PASSWORD)
        folder.chmod(0o755)
        if os.getuid() == 0:
            for path in (folder, secret):
                shutil.chown(path, "postgres")
        self._run(
            "initdb", "--no-sync", "--auth=scram-sha-256", f"--username={USER}",
            f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--pgdata", folder / "data",
        )  # fmt: skip
        self.start()

    @property
    def pid(self) -> int:
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def start(self) -> None:
        server_settings = (
            *SMALL_SETTINGS,
            *self.settings,
            f"port={self.port}",
            f"unix_socket_directories={self.folder}",
        )
        options = " ".join(f"-c {setting}" for setting in server_settings)
        self._run("pg_ctl", "start", "--wait", f"--log={self.folder}/log", f"--options={options}")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "stop", "--wait", f"--mode={mode}")

    def restart(self) -> None:
        """Crash the server, and start it again."""
        self._run("pg_ctl", "restart", "--wait", "--mode=immediate", f"--log={self.folder}/log")

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It is there, and says nothing."""
        pids = [self.pid, *self._children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def fresh(self) -> str:
        """Make a database, and give its URL."""
        return self.url(self._create())

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """Lend a database, and give its URL: to empty one is ten times as quick as to make one."""
        name = self._emptied.pop() if self._emptied else self._create()
        yield self.url(name)
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name}' AND pid != pg_backend_pid()"
        )
        rights = "GRANT USAGE ON SCHEMA public TO PUBLIC"  # as a new database has them
        self.sql(f"DROP SCHEMA public CASCADE; CREATE SCHEMA public; {rights}", name)
        self._emptied.append(name)

    def _create(self) -> str:
        name = f"mynet_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def url(self, name: str, password: str = PASSWORD) -> str:
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str, name: str = "postgres") -> None:
        import psycopg

        address = self.url(name).replace("+psycopg", "")
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _children(self) -> list[int]:
        command = ["ps", "-o", "pid=", "--ppid", str(self.pid)]
        output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return [int(pid) for pid in output.split()]

    def _run(self, program: str, *arguments: object) -> None:
        user: dict[str, Any] = {}
        if os.getuid() == 0:
            user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        done = subprocess.run(
            [self.bin / program, *map(str, arguments)],
            env={**os.environ, "PGDATA": str(self.folder / "data"), "PGCTLTIMEOUT": "240"},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            **user,
        )
        log = self.folder / "log"
        assert done.returncode == 0, log.read_text() if log.exists() else program


def open_patiently(url: URL, time_outs: TimeOuts) -> Engine:
    """Open an engine for PostgreSQL with `LONG_TIME_OUTS` instead of those of production."""
    return open_as_in_production(url, LONG_TIME_OUTS if time_outs is TIME_OUTS else time_outs)


@contextmanager
def run_postgres(*settings: str) -> Iterator[Postgres]:
    """Run a server as long as the context lasts; what is in it is lost then."""
    find_program("pg_ctl")
    with tempfile.TemporaryDirectory(
        prefix="mynet-postgres-", dir=os.environ.get(TEMPORARY_ROOT), ignore_cleanup_errors=True
    ) as name:
        server = Postgres(Path(name), *settings)
        try:
            yield server
        finally:
            with suppress(FileNotFoundError):
                server.stop()
