"""Event streams of jobs for many subscribers, and the tutorial's log lines."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from app.database.jobs import JobStore
from app.database.tables import Event
from app.errors import NotReady
from app.telemetry import logs
from app.train.jobs import job as jobs
from app.train.jobs.job import Status

POLL: Final = 0.25
HEARTBEAT: Final = 15.0
PAGE: Final = 1000
log = logging.getLogger(__name__)


class EventStream:
    """Job events with shared database reads: subscribers with the same position share a page.

    All subscribers must use the same event loop.
    """

    def __init__(self, store: JobStore) -> None:
        self.store = store
        self._shared_reads: dict[tuple[str, int], asyncio.Task[Sequence[Event]]] = {}

    async def page(self, job_id: str, after: int) -> Sequence[Event]:
        """Return the events after that number, oldest first, at most 1,000. Raises NotReady."""
        key = job_id, after
        if key not in self._shared_reads:
            read = asyncio.to_thread(self.store.events, job_id, after, limit=PAGE)
            self._shared_reads[key] = asyncio.create_task(read)
            asyncio.get_running_loop().call_later(POLL, self._shared_reads.pop, key, None)
        # Shielded: a subscriber that disconnects must not cancel the read of the others.
        return await asyncio.shield(self._shared_reads[key])

    async def subscribe(
        self, job_id: str, after: int, stop: asyncio.Event
    ) -> AsyncIterator[Sequence[Event]]:
        """Yield pages of new events until the job has ended or `stop` is set.

        An empty page is a heartbeat: there was no event for 15 seconds.
        """
        clock = asyncio.get_running_loop().time
        last_sent = clock()
        is_last = False
        while not is_last:
            is_last = stop.is_set()
            if is_last:  # read again, to include every event up to now
                self._shared_reads.pop((job_id, after), None)
            page = await self._page_or_empty(job_id, after)
            is_quiet = not page and clock() - last_sent >= HEARTBEAT
            if is_quiet and await self._has_ended(job_id, after):
                return
            if page or is_quiet:
                yield page
                last_sent = clock()
            if page:
                after = page[-1].number
                if is_last_event(page[-1]):
                    return
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), POLL)

    async def is_over(self, job_id: str, after: int) -> bool:
        """Return whether the job has ended, and has no event after that number.

        Raises NotFound, NotReady.
        """
        job = await asyncio.to_thread(jobs.get, self.store, job_id)
        if not Status(job.status).is_final:
            return False
        return not await asyncio.to_thread(self.store.events, job_id, after, limit=1)

    async def _has_ended(self, job_id: str, after: int) -> bool:
        with suppress(NotReady):  # if the state of the job is unknown, the stream continues
            return await self.is_over(job_id, after)
        return False

    async def _page_or_empty(self, job_id: str, after: int) -> Sequence[Event]:
        try:
            return await self.page(job_id, after)
        except NotReady as error:
            message = "job events could not be read, retrying: job=%s error=%s"
            log.warning(message, job_id, error, extra=logs.extra_fields(job_id=job_id))
            return []


def is_last_event(event: Event) -> bool:
    """Return whether this is a job's last event."""
    return event.kind == "status" and Status(event.data["status"]).is_final


def read_log(store: JobStore, job_id: str) -> Iterator[str]:
    """Yield the log lines of a job, up to now."""
    after = 0
    while events := store.events(job_id, after, "batch"):
        yield from lines(events)
        after = events[-1].number


def lines(events: Iterable[Event]) -> Iterator[str]:
    """Return the log lines of the batch events."""
    return (log_line(**event.data) for event in events if event.kind == "batch")


def log_line(epoch: int, batch: int, loss: float) -> str:
    """Return a log line exactly as the tutorial prints it."""
    return f"==>>> epoch: {epoch}, batch index: {batch}, train loss: {loss}\n"
