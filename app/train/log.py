"""The tutorial's log of a job, from its events.

What enters: a job's id. What leaves: lines. This module does not know who reads them.
"""

from typing import NamedTuple

from app.store import Store

PAGE = 1000


class Lines(NamedTuple):
    """Lines with their line ends, and the number of the event that the last one tells of."""

    text: list[str]
    last: int


def lines(store: Store, job_id: str, after: int = 0) -> Lines:
    """Give the lines of all batches told of after the event with that number."""
    text: list[str] = []
    while events := store.events(job_id, after, "batch", PAGE):
        text += [log_line(**event.data) for event in events]
        after = events[-1].number
    return Lines(text, after)


def log_line(epoch: int, batch: int, loss: float) -> str:
    """Give the tutorial's own line."""
    return f"==>>> epoch: {epoch}, batch index: {batch}, train loss: {loss}\n"
