"""PostgreSQL engine: connections, time-outs and error messages.

Every connection answers within seconds or is closed, even if the server hangs and sends nothing.
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

# A server allows 100 connections by default, and several processes share them.
POOL_SIZE: Final = 5
MAX_OVERFLOW: Final = 10
# Any number that no other application in this database uses for its advisory locks.
ADVISORY_LOCK_ID: Final = int.from_bytes(b"mynet")
# Temporary, though not an OperationalError: a standby, tables that are being restored, and tables
# that a newer release has migrated before this process noticed.
TRANSIENT_ERRORS: Final = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InsufficientPrivilege,
)
UNAVAILABLE_ERRORS: Final = (psycopg.OperationalError, psycopg.InternalError, *TRANSIENT_ERRORS)


class TimeoutConnection(psycopg.Connection[Any]):
    """A connection that is closed if the server does not answer in time."""

    time_outs: TimeOuts = TIME_OUTS
    deadline: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:  # noqa: ARG002
        remaining = self.time_outs.answer
        if self.deadline is not None:
            remaining = max(0.01, self.deadline - time.monotonic())
        try:
            return super().wait(gen, interval, remaining)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # a late answer could be taken for that of the next query
            raise psycopg.OperationalError("the answer took too long") from None


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
    event.listen(engine, "checkout", _on_checkout)
    disposed = threading.Event()
    event.listen(engine, "engine_disposed", lambda _: disposed.set())
    event.listen(engine, "checkin", partial(_on_checkin, disposed))
    event.listen(engine, "begin", _on_begin)
    event.listen(engine, "handle_error", _translate_error)
    return engine


def _connect(
    time_outs: TimeOuts, _dialect: object, _record: object, cargs: Any, cparams: dict[str, Any]
) -> TimeoutConnection:
    limits = " ".join(f"-c {name}={1000 * value:.0f}" for name, value in _limits(time_outs).items())
    # The options of the URL come last, so they take precedence.
    cparams["options"] = f"{limits} {cparams.get('options', '')}"
    connection = TimeoutConnection.connect(
        *cargs, **{"connect_timeout": time_outs.connect} | cparams
    )
    connection.time_outs = time_outs
    return connection


def _limits(time_outs: TimeOuts) -> dict[str, float]:
    """Return the time-outs that the server enforces, in seconds by parameter name."""
    return {
        "lock_timeout": time_outs.lock,
        "statement_timeout": time_outs.statement,
        "idle_in_transaction_session_timeout": time_outs.idle_in_transaction,
    }


def _on_checkout(connection: TimeoutConnection, _record: object, _proxy: object) -> None:
    connection.deadline = time.monotonic() + connection.time_outs.transaction


def _on_checkin(
    disposed: threading.Event, connection: TimeoutConnection | None, _record: object
) -> None:
    if connection is None:
        return
    connection.deadline = None
    if disposed.is_set():  # in use when the engine was closed: no pool would close it
        connection.close()


def _on_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("exclusive") and options.get("schema"):
        bounded: Any = connection.connection.dbapi_connection
        seconds = bounded.time_outs.migration
        bounded.deadline = time.monotonic() + seconds
        for name in _limits(bounded.time_outs):
            connection.exec_driver_sql(f"SET LOCAL {name} = '{seconds:.0f}s'")
    if options.get("exclusive"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK_ID})")


def _translate_error(context: ExceptionContext) -> None:
    """Raise NotReady if the error means that the database cannot be used now."""
    original = context.original_exception
    if context.is_pre_ping and context.is_disconnect:
        return  # an idle connection was dropped: the pool opens another one
    if isinstance(original, UNAVAILABLE_ERRORS):
        message = f"The database does not answer: {_error_message(original)}."
        raise NotReady(message, retry_after=5) from original


def _error_message(error: psycopg.Error) -> str:
    """Return the reason without the server's address, which clients must not see."""
    message = error.diag.message_primary or str(error).partition("\n")[0]
    return message.rpartition(" failed: ")[2].strip().rstrip(".")
