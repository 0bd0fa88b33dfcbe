"""PostgreSQL below SQLAlchemy: how its connections begin, how long anything may take, and what goes
wrong with it, in words.

What enters: a URL. What leaves: an engine whose connections answer within seconds, or are given up:
also where the server hangs, and says nothing at all. This module does not know what is kept there.
"""

import time
from typing import Any, Final

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, Connection, ExceptionContext
from sqlalchemy.pool import Pool

from app.errors import NotReady

# Seconds: for one of the connections; to connect to one address; for an answer beside transactions;
# for a whole transaction. Whoever waits in vain has waited for less than the lease's margin allows
# (`app.train.lease`).
IN_LINE: Final = 3.0
TO_CONNECT: Final = 3
TO_ANSWER: Final = 2.0
TO_FINISH: Final = 8.0
# Milliseconds. A service that stops in the middle of a transaction must not hold its locks.
LIMITS: Final = {
    "lock_timeout": 5000,
    "statement_timeout": 7000,
    "idle_in_transaction_session_timeout": 10_000,
}
# A server has 100 connections unless it is told otherwise, and several processes share them.
KEPT: Final = 5
BESIDE: Final = 10
# Any number that no other application takes for locks of its own in this database.
LOCK: Final = int.from_bytes(b"mynet")
# What passes, though it is not called operational: a standby, tables that are being restored.
PASSING: Final = (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege)
UNUSABLE: Final = (psycopg.OperationalError, psycopg.InternalError, *PASSING)


class Bounded(psycopg.Connection[Any]):
    """A connection that waits for no answer longer than it may, and is closed instead."""

    until: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:  # noqa: ARG002
        left = TO_ANSWER if self.until is None else max(0.01, self.until - time.monotonic())
        try:
            return super().wait(gen, interval, left)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # nobody knows what it would say next
            raise psycopg.OperationalError("it took too long") from None


def open_engine(url: URL, pool: type[Pool]) -> Engine:
    """Give an engine for PostgreSQL."""
    engine = create_engine(
        url,
        poolclass=pool,
        pool_size=KEPT,
        max_overflow=BESIDE,
        pool_timeout=IN_LINE,
        pool_pre_ping=True,
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "checkout", _take)
    event.listen(engine, "checkin", _give_back)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _tell_in_words)
    return engine


def _connect(_dialect: object, _record: object, cargs: Any, cparams: dict[str, Any]) -> Bounded:
    limits = " ".join(f"-c {name}={value}" for name, value in LIMITS.items())
    # What the URL says comes last, and holds.
    cparams["options"] = f"{limits} {cparams.get('options', '')}"
    return Bounded.connect(*cargs, **{"connect_timeout": TO_CONNECT} | cparams)


def _take(connection: Bounded, _record: object, _proxy: object) -> None:
    connection.until = time.monotonic() + TO_FINISH


def _give_back(connection: Bounded | None, _record: object) -> None:
    if connection:
        connection.until = None


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("alone"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")


def _tell_in_words(context: ExceptionContext) -> None:
    """Raises NotReady for what a database says that cannot be used now."""
    original = context.original_exception
    if context.is_pre_ping and context.is_disconnect:
        return  # it was dropped while nobody used it: another one is made
    if isinstance(original, UNUSABLE):
        raise NotReady(f"The database does not answer: {_said(original)}.", retry_after=5) from (
            original
        )


def _said(error: psycopg.Error) -> str:
    """Give the reason without the address, which is no matter of whoever asks the service."""
    first = error.diag.message_primary or str(error).partition("\n")[0]
    return first.rpartition(" failed: ")[2].strip().rstrip(".")
