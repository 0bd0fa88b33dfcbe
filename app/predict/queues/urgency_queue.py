"""A queue for a number of equal slots, in order of urgency."""

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from itertools import count

from app.predict.queues.admission import Admission, raise_if_disconnected


class Urgency(Enum):
    """Seconds that work lets later, more urgent work go first.

    So a photo does not wait for a long batch, and a batch does not wait for all photos.
    """

    SINGLE = 0.0
    BATCH = 0.25
    CORRECTION = 0.5


class UrgencyQueue:
    """Slots, and work that waits for them. Belongs to one event loop."""

    def __init__(self, slots: int) -> None:
        self.admission = Admission(slots)
        self._free = slots
        self._numbers = count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def slot(
        self, deadline: float, urgency: Urgency, is_cancelled: Callable[[], bool]
    ) -> AsyncIterator[None]:
        """Wait for a slot, and free it in the end. The time between is that of the work.

        Raises QueueFull if the wait would be too long, TimeoutError if the work would miss its
        deadline while other work waits, ClientDisconnected.
        """
        clock = asyncio.get_running_loop().time
        self.admission.check(deadline - clock())
        self.admission.images += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._acquire(clock() + urgency.value)
            try:
                raise_if_disconnected(is_cancelled)
                if self._waiting and clock() + self.admission.seconds > deadline:
                    raise TimeoutError
                started = time.perf_counter()
                try:
                    yield
                finally:
                    self.admission.record(time.perf_counter() - started)
            finally:
                self._release()
        finally:
            self.admission.images -= 1

    async def _acquire(self, key: float) -> None:
        if self._free:
            self._free -= 1
            return
        slot_granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (key, next(self._numbers), slot_granted))
        try:
            await slot_granted
        except asyncio.CancelledError:
            if (
                slot_granted.done() and not slot_granted.cancelled()
            ):  # it got the slot at the same time
                self._release()
            raise

    def _release(self) -> None:
        while self._waiting:
            _, _, slot_granted = heapq.heappop(self._waiting)
            if not slot_granted.done():
                slot_granted.set_result(None)
                return
        self._free += 1
