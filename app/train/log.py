"""The tutorial's log of a job, from its events.

What enters: events, or the job whose events they are. What leaves: lines. This module does not know
who reads them.
"""

from collections.abc import Iterable, Iterator

from app.database.store import Store
from app.database.tables import Event


def whole(store: Store, job_id: str) -> Iterator[str]:
    """Give all lines that there are by now."""
    after = 0
    while events := store.events(job_id, after, "batch"):
        yield from lines(events)
        after = events[-1].number


def lines(events: Iterable[Event]) -> Iterator[str]:
    """Give the lines of those events that tell of a batch."""
    return (log_line(**event.data) for event in events if event.kind == "batch")


def log_line(epoch: int, batch: int, loss: float) -> str:
    """Give the tutorial's own line."""
    return f"==>>> epoch: {epoch}, batch index: {batch}, train loss: {loss}\n"
