"""Time-outs of PostgreSQL, in a module that does not need its driver.

Each is shorter than the margin of the lease (`app.train.supervisor.lease`), except for migrations.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class TimeOuts:
    """Time-outs in seconds. The server enforces `lock`, `statement` and `idle_in_transaction`."""

    # To get a connection from the pool.
    pool: float = 3.0
    # To connect to one address, in whole seconds. The minimum of libpq is 2.
    connect: int = 3
    # For an answer outside of a transaction.
    answer: float = 2.0
    # For a whole transaction.
    transaction: float = 8.0
    # For a lock that another transaction holds.
    lock: float = 5.0
    # For one statement.
    statement: float = 7.0
    # A service that stops in the middle of a transaction must not hold its locks.
    idle_in_transaction: float = 10.0
    # For a migration, which may rewrite a table, and for processes that wait for its end.
    migration: float = 900.0


TIME_OUTS: Final = TimeOuts()
