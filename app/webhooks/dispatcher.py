"""Dispatcher: sends the messages of the outbox, and tries again until they are delivered.

Every process of a service runs one. The messages that are due are claimed in the database, so that
one process sends each. A message may be sent twice with the same id if a process dies between the
answer of the receiver and its own record of it.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version as version_of
from typing import Final

from app.config import webhooks
from app.config.settings import Settings
from app.database.database import Database
from app.database.tables import Delivery, now
from app.errors import NotReady
from app.telemetry import logs
from app.webhooks.addresses import AllowedAddresses
from app.webhooks.delivery_store import DeliveryStore
from app.webhooks.http_post import HttpPoster, PostFailed, TimeOuts
from app.webhooks.signature import signed_headers

USER_AGENT: Final = f"MyNet/{version_of('mynet')}"
MAX_IN_FLIGHT: Final = 32
# A receiver that hangs holds up its own messages alone.
MAX_PER_ORIGIN: Final = 2
GONE: Final = 410
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals and time-outs of deliveries, in seconds."""

    # Between two looks at the outbox.
    poll: float = 0.5
    # Before the database is asked again after an error.
    retry: float = 5.0
    # Before the second attempt, doubled for each further one, up to `max_wait`.
    first_wait: float = 2.0
    max_wait: float = 3600.0
    # After the event, until a failed attempt is the last one.
    give_up: float = 24 * 3600.0
    # Beyond the time-out of an attempt, until another process may send the message.
    claim_margin: float = 10.0
    time_outs: TimeOuts = field(default_factory=TimeOuts)

    def wait(self, attempt: int) -> float:
        """Return the seconds before the next attempt: exponential, with jitter."""
        limit = min(self.max_wait, self.first_wait * 2.0 ** min(attempt - 1, 30))
        return limit * random.uniform(0.5, 1)


TIMING: Final = Timing()


class Dispatcher:
    """Sends the messages of a database. Needs `webhook_secret`."""

    def __init__(self, settings: Settings, database: Database, timing: Timing = TIMING) -> None:
        assert settings.webhook_secret is not None
        self._key = webhooks.key(settings.webhook_secret)
        self._store, self._timing = DeliveryStore(database), timing
        allowed = AllowedAddresses(settings.webhook_allow)
        self._poster = HttpPoster(allowed, timing.time_outs)
        self._in_flight: dict[asyncio.Task[None], str] = {}

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        is_available = True
        try:
            while True:
                wait = self._timing.poll
                try:
                    if await self.start_due():
                        wait = 0  # there may be more, for other receivers
                    is_available = True
                except Exception as error:  # any: without this task, nothing would be sent
                    expected = isinstance(error, NotReady)
                    if is_available or not expected:
                        log.error(
                            "outbox could not be read, retrying: error=%s",
                            error,
                            exc_info=None if expected else error,
                        )
                    is_available, wait = False, self._timing.retry
                await asyncio.sleep(wait)
        finally:
            for task in self._in_flight:
                task.cancel()

    async def start_due(self) -> int:
        """Start to send the messages that are due, and return how many. Raises NotReady."""
        counts = Counter(self._in_flight.values())
        busy = [origin for origin, count in counts.items() if count >= MAX_PER_ORIGIN]
        room, started = MAX_IN_FLIGHT - counts.total(), 0
        if room > 0:
            for delivery in await asyncio.to_thread(self._store.due, room, busy):
                if counts[delivery.origin] < MAX_PER_ORIGIN and await self._start(delivery):
                    counts[delivery.origin] += 1
                    started += 1
        return started

    async def deliver_due(self) -> None:
        """Send what is due now, each message once. Raises NotReady."""
        while await self.start_due():
            await asyncio.gather(*self._in_flight)

    async def _start(self, delivery: Delivery) -> bool:
        """Claim a message and start to send it, unless another process does."""
        seconds = self._timing.time_outs.total + self._timing.claim_margin
        attempt = await asyncio.to_thread(self._store.claim, delivery, seconds)
        if attempt is None:
            return False
        task = asyncio.create_task(self._deliver(delivery, attempt))
        self._in_flight[task] = delivery.origin
        task.add_done_callback(self._in_flight.pop)
        return True

    async def _deliver(self, delivery: Delivery, attempt: int) -> None:
        """Send a message once, and record what became of it."""
        status, error = await self._send(delivery)
        try:
            await asyncio.to_thread(self._record, delivery, attempt, status, error)
        except Exception as problem:  # any: it is sent again when its claim ends
            log.error("delivery could not be recorded: id=%s error=%s", delivery.id, problem)

    async def _send(self, delivery: Delivery) -> tuple[int | None, str | None]:
        """Return the status of the receiver's answer, and the error if it did not accept."""
        body = delivery.body.encode()
        headers = signed_headers(self._key, delivery.id, int(time.time()), body)
        try:
            status = await self._poster.post(
                delivery.url, {"User-Agent": USER_AGENT, **headers}, body
            )
        except PostFailed as error:
            return None, str(error)
        except Exception as error:  # any: the message must not stop the others
            log.exception("delivery raised an exception: id=%s", delivery.id)
            return None, type(error).__name__
        if 200 <= status < 300:
            return status, None
        redirect = ", and redirects are not followed" if 300 <= status < 400 else ""
        return status, f"the receiver answered {status}{redirect}"

    def _record(
        self, delivery: Delivery, attempt: int, status: int | None, error: str | None
    ) -> None:
        fields = f"job={delivery.job_id} id={delivery.id} event={delivery.event}"
        fields += f" to={delivery.origin} attempt={attempt}"
        extra = logs.extra_fields(job_id=delivery.job_id)
        if error is None:
            log.info("webhook delivered: %s status=%s", fields, status, extra=extra)
            self._store.record_delivered(delivery, attempt, status or 0)
        elif status == GONE or self._seconds_left(delivery) <= 0:
            log.error("webhook given up: %s error=%s", fields, error, extra=extra)
            self._store.give_up(delivery, attempt, status, error)
        else:
            log.info("webhook not delivered, retrying: %s error=%s", fields, error, extra=extra)
            wait = min(self._timing.wait(attempt), self._seconds_left(delivery))
            self._store.record_failure(delivery, attempt, status, error, wait)

    def _seconds_left(self, delivery: Delivery) -> float:
        """Return the seconds until a failed attempt is the last one."""
        return self._timing.give_up - (now() - delivery.created_at).total_seconds()
