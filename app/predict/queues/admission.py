"""Admission control: an estimate of how long new work would wait, and a refusal if too long.

Without this check, throughput would fall under overload: work that starts near the end of its
time-out finishes too late, and its result is discarded.
"""

from collections.abc import Callable
from math import ceil
from typing import Final

from app.errors import ClientDisconnected, QueueFull

# Share of the time-out that may pass in the queue. The rest is for the work, with a reserve.
MAX_QUEUE_SHARE: Final = 0.7
# Weight of one piece of work in the moving average of durations, higher if it took longer. Admitted
# work should finish in time even in a slow second, which cannot be predicted.
EWMA_UP: Final = 0.1
EWMA_DOWN: Final = 0.03


class Admission:
    """The work in a number of equal slots and in the queue for them, counted in images."""

    def __init__(self, slots: int) -> None:
        self.slots, self.images, self.seconds = slots, 0, 0.0

    def check_capacity(self, remaining: float) -> QueueFull | None:
        """Return an error if work with so many seconds left would be rejected, else None.

        No work is rejected while a slot is free, however long earlier work took.
        """
        wait = self.images * self.seconds / self.slots
        if self.images < self.slots or wait <= MAX_QUEUE_SHARE * remaining:
            return None
        message = f"The queue is full: {self.images} images are waiting, for about {wait:.1f} s."
        return QueueFull(f"{message} Try again later.", retry_after=max(1, ceil(wait)))

    def check(self, remaining: float) -> None:
        """Raise QueueFull if work with so many seconds left is rejected."""
        if overload := self.check_capacity(remaining):
            raise overload

    def record(self, seconds: float) -> None:
        """Take the duration of the work for one image into the moving average."""
        deviation = seconds - self.seconds
        self.seconds += deviation * (EWMA_UP if deviation > 0 else EWMA_DOWN)


def raise_if_disconnected(is_disconnected: Callable[[], bool]) -> None:
    """Raise ClientDisconnected if the client disconnected."""
    if is_disconnected():
        raise ClientDisconnected("The client disconnected before its image was processed.")
