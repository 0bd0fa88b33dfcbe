"""How long PostgreSQL may take over what; apart from its driver, which is an extra.

Whoever waits in vain for one of them has waited for less than the lease's margin allows
(`app.train.supervisor.lease`).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class TimeOuts:
    """Seconds. `lock`, `statement` and `idle_in_transaction` are kept by the server."""

    # For one of the connections of the pool.
    pool: float = 3.0
    # To connect to one address: whole seconds, of which libpq takes at least 2.
    connect: int = 3
    # For an answer beside transactions.
    answer: float = 2.0
    # For a whole transaction.
    transaction: float = 8.0
    # For a lock that another transaction holds.
    lock: float = 5.0
    # For one statement.
    statement: float = 7.0
    # A service that stops in the middle of a transaction must not hold its locks.
    idle_in_transaction: float = 10.0
    # For a migration, which may write a table anew, and for those that wait for its end.
    migration: float = 900.0


TIME_OUTS: Final = TimeOuts()
