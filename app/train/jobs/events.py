"""Event streams of jobs for many subscribers, and the tutorial's log lines."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from app.database.jobs import JobStore
from app.database.tables import Event
from app.errors import NotFound, NotReady
from app.telemetry import logs
from app.train.jobs import job as jobs
from app.train.jobs.job import Status
from app.webhooks.delivery_store import EVENT_KIND

POLL: Final = 0.25
HEARTBEAT: Final = 15.0
PAGE: Final = 1000
LOG_KINDS: Final = ("batch", "epoch")
# Sent in a log while there is no new line. A terminal moves its cursor to the start of the line,
# where it is already, so it shows nothing. `grep` would take a file with NUL for a binary one.
KEEP_ALIVE: Final = "\r"
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

    async def follow_log(self, job_id: str, stop: asyncio.Event) -> AsyncIterator[str]:
        """Yield the log lines of a job until it has ended or `stop` is set.

        After 15 seconds without a line it yields `KEEP_ALIVE`.
        """
        async for page in self.subscribe(job_id, 0, stop, LOG_KINDS):
            text = "".join(lines(page))
            if text or not page:
                yield text or KEEP_ALIVE

    async def subscribe(
        self, job_id: str, after: int, stop: asyncio.Event, kinds: Collection[str] | None = None
    ) -> AsyncIterator[Sequence[Event]]:
        """Yield pages of new events of these kinds, or of all kinds, until the job has ended.

        It also ends if `stop` is set. An empty page is a heartbeat: there was no event for 15
        seconds.
        """
        clock = asyncio.get_running_loop().time
        last_sent = clock()
        is_last = False
        while not is_last:
            is_last = stop.is_set()
            if is_last:  # read again, to include every event up to now
                self._shared_reads.pop((job_id, after), None)
            page = await self._page_or_empty(job_id, after)
            selected = [event for event in page if kinds is None or event.kind in kinds]
            is_quiet = not selected and clock() - last_sent >= HEARTBEAT
            if is_quiet and await self._has_ended(job_id, after):
                return
            if selected or is_quiet:
                yield selected
                last_sent = clock()
            if page:
                after = page[-1].number
                if any(map(is_last_event, page)):
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
        try:
            return await self.is_over(job_id, after)
        except NotReady:  # the state of the job is unknown, so the stream continues
            return False
        except NotFound:  # it was deleted
            return True

    async def _page_or_empty(self, job_id: str, after: int) -> Sequence[Event]:
        try:
            return await self.page(job_id, after)
        except NotReady as error:
            message = "job events could not be read, retrying: job=%s error=%s"
            log.warning(message, job_id, error, extra=logs.extra_fields(job_id=job_id))
            return []


def is_last_event(event: Event) -> bool:
    """Return whether the job has ended with this event. Only webhooks that fail come after it."""
    return event.kind == EVENT_KIND or (
        event.kind == "status" and Status(event.data["status"]).is_final
    )


def read_log(store: JobStore, job_id: str) -> Iterator[str]:
    """Yield the log lines of a job, up to now."""
    after = 0
    while events := store.events(job_id, after, LOG_KINDS):
        yield from lines(events)
        after = events[-1].number


def lines(events: Iterable[Event]) -> Iterator[str]:
    """Yield the log lines of the batches and of the validation after each epoch."""
    for event in events:
        if event.kind == "batch":
            yield log_line(**event.data)
        elif event.kind == "epoch" and event.data.get("validation_loss") is not None:
            yield validation_line(event.data)


def log_line(epoch: int, batch: int, loss: float) -> str:
    """Return a log line exactly as the tutorial prints it."""
    return f"==>>> epoch: {epoch}, batch index: {batch}, train loss: {loss}\n"


def validation_line(epoch: Mapping[str, Any]) -> str:
    """Return the line of an epoch whose network was validated, in the style of the tutorial."""
    loss, accuracy = epoch["validation_loss"], epoch["validation_accuracy"]
    return f"==>>> epoch: {epoch['epoch']}, validation loss: {loss}, acc: {accuracy}\n"
