"""Last-used times of API keys: in memory, and about once a minute in the database.

A request only stores a time in memory. A background task writes the times, so that a request never
waits for the database, nor fails with it.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Final

from app.auth.key_cache import ADMIN_ID, KeyCache
from app.database.tables import Key, now

CHECK_INTERVAL: Final = 1.0  # seconds
# A stored time is replaced once it is so old. All processes see what one of them has stored, so
# their number does not multiply the writes.
MIN_AGE: Final = timedelta(minutes=1)
log = logging.getLogger(__name__)


class KeyUsage:
    """The last-used times of this process that the database does not have yet."""

    def __init__(self, key_cache: KeyCache) -> None:
        self.key_cache = key_cache
        self._last_used: dict[str, datetime] = {}

    def record(self, key: Key) -> None:
        """Record that a request has this valid key. Call it in the event loop."""
        if key.id != ADMIN_ID:  # MYNET_ADMIN_KEY is not in the database
            self._last_used[key.id] = now()

    async def store_periodically(self) -> None:
        """Store the times that are due, until cancelled. If that fails, try again later."""
        is_failing = False
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            try:
                await self.store_due()
                is_failing = False
            except Exception as error:  # any: without this task, no later use would be stored
                if not is_failing:
                    log.error("last-used times of keys could not be stored, retrying: %s", error)
                is_failing = True

    async def store_due(self) -> None:
        """Store the times of keys whose stored time is missing or old. Raises NotReady."""
        if due := self._due():
            await asyncio.to_thread(self.key_cache.keys.store_last_used, due)
            self._last_used = {
                key_id: time for key_id, time in self._last_used.items() if due.get(key_id) != time
            }

    def store_all(self) -> None:
        """Store all times before this process ends."""
        try:
            if self._last_used:
                self.key_cache.keys.store_last_used(self._last_used)
        except Exception as error:  # any: the end of the process must go on
            log.error("last-used times of keys could not be stored: %s", error)

    def _due(self) -> dict[str, datetime]:
        newest = now() - MIN_AGE
        stored = self.key_cache.last_used
        return {
            key_id: time
            for key_id, time in self._last_used.items()
            if (stored_time := stored(key_id)) is None or stored_time <= newest
        }
