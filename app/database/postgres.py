"""PostgreSQL below SQLAlchemy: how its connections begin, how long anything may take, and what goes
wrong with it, in words.

What enters: a URL. What leaves: an engine whose connections answer within seconds, or are given up:
also where the server hangs, and says nothing at all. This module does not know what is kept there.
"""

import threading
import time
from functools import partial
from typing import Any, Final

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, Connection, ExceptionContext
from sqlalchemy.pool import Pool

from app.database.time_outs import TIME_OUTS, TimeOuts
from app.errors import NotReady

# A server has 100 connections unless it is told otherwise, and several processes share them.
POOL_SIZE: Final = 5
MAX_OVERFLOW: Final = 10
# Any number that no other application takes for locks of its own in this database.
LOCK: Final = int.from_bytes(b"mynet")
# What passes, though it is not called operational: a standby, tables that are being restored, and
# those that a newer release has just migrated, until this one has found out.
PASSING: Final = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InsufficientPrivilege,
)
UNUSABLE: Final = (psycopg.OperationalError, psycopg.InternalError, *PASSING)


class TimeoutConnection(psycopg.Connection[Any]):
    """A connection that waits for no answer longer than it may, and is closed instead."""

    time_outs: TimeOuts = TIME_OUTS
    until: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:  # noqa: ARG002
        left = self.time_outs.answer
        if self.until is not None:
            left = max(0.01, self.until - time.monotonic())
        try:
            return super().wait(gen, interval, left)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # nobody knows what it would say next
            raise psycopg.OperationalError("it took too long") from None


def open_engine(url: URL, pool: type[Pool], time_outs: TimeOuts = TIME_OUTS) -> Engine:
    """Return an engine for PostgreSQL."""
    engine = create_engine(
        url,
        poolclass=pool,
        pool_size=POOL_SIZE,
        max_overflow=MAX_OVERFLOW,
        pool_timeout=time_outs.pool,
        pool_pre_ping=True,
    )
    event.listen(engine, "do_connect", partial(_connect, time_outs))
    event.listen(engine, "checkout", _take)
    disposed = threading.Event()
    event.listen(engine, "engine_disposed", lambda _: disposed.set())
    event.listen(engine, "checkin", partial(_give_back, disposed))
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _translate_error)
    return engine


def _connect(
    time_outs: TimeOuts, _dialect: object, _record: object, cargs: Any, cparams: dict[str, Any]
) -> TimeoutConnection:
    limits = " ".join(f"-c {name}={1000 * value:.0f}" for name, value in _limits(time_outs).items())
    # What the URL says comes last, and holds.
    cparams["options"] = f"{limits} {cparams.get('options', '')}"
    connection = TimeoutConnection.connect(
        *cargs, **{"connect_timeout": time_outs.connect} | cparams
    )
    connection.time_outs = time_outs
    return connection


def _limits(time_outs: TimeOuts) -> dict[str, float]:
    """Return the server's own time-outs by their names there, in seconds."""
    return {
        "lock_timeout": time_outs.lock,
        "statement_timeout": time_outs.statement,
        "idle_in_transaction_session_timeout": time_outs.idle_in_transaction,
    }


def _take(connection: TimeoutConnection, _record: object, _proxy: object) -> None:
    connection.until = time.monotonic() + connection.time_outs.transaction


def _give_back(
    disposed: threading.Event, connection: TimeoutConnection | None, _record: object
) -> None:
    if connection is None:
        return
    connection.until = None
    if disposed.is_set():  # a thread had it when the engine was closed: no pool would close it
        connection.close()


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("exclusive") and options.get("schema"):
        bounded: Any = connection.connection.dbapi_connection
        seconds = bounded.time_outs.migration
        bounded.until = time.monotonic() + seconds
        for name in _limits(bounded.time_outs):
            connection.exec_driver_sql(f"SET LOCAL {name} = '{seconds:.0f}s'")
    if options.get("exclusive"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")


def _translate_error(context: ExceptionContext) -> None:
    """Raises NotReady for what a database says that cannot be used now."""
    original = context.original_exception
    if context.is_pre_ping and context.is_disconnect:
        return  # it was dropped while nobody used it: another one is made
    if isinstance(original, UNUSABLE):
        raise NotReady(f"The database does not answer: {_said(original)}.", retry_after=5) from (
            original
        )


def _said(error: psycopg.Error) -> str:
    """Return the reason without the address, which is no matter of the service's clients."""
    first = error.diag.message_primary or str(error).partition("\n")[0]
    return first.rpartition(" failed: ")[2].strip().rstrip(".")
