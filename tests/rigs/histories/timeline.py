"""Histories one after another, of the same registry.

A read in one history may show a state of the ones before it. So the changes of the last seconds
are checked with it.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from tests.rigs.histories.checker import Order, find_order, unprovoked
from tests.rigs.histories.model import STALENESS, Operation, State

AGE_STEP: Final = 0.25  # seconds


class Round(NamedTuple):
    """A history that was explained: the state at its start, its changes, and its end in seconds."""

    initial: State
    changes: tuple[Operation, ...]
    end: float


class Verdict(NamedTuple):
    """A history with the changes before it that it may show, and the order that was found."""

    initial: State
    operations: tuple[Operation, ...]
    order: Order
    unprovoked: list[Operation]

    @property
    def is_explained(self) -> bool:
        return self.order.is_complete and not self.unprovoked


class Timeline:
    """The rounds that a read of the next one may show.

    `oldest_age` is for how many seconds reads had to be stale so far, in steps of AGE_STEP.
    """

    def __init__(self, staleness: float = STALENESS) -> None:
        self.staleness, self.oldest_age = staleness, 0.0
        self._rounds: deque[Round] = deque()

    def check(self, initial: State, operations: Sequence[Operation], settled: Operation) -> Verdict:
        """Explain a history that begins in one settled state and ends in another."""
        start = min((operation.call for operation in operations), default=settled.call)
        while self._rounds and self._rounds[0].end < start - self.staleness:
            self._rounds.popleft()
        first = self._rounds[0].initial if self._rounds else initial
        earlier = [change for round in self._rounds for change in round.changes]
        everything = (*earlier, *operations, settled)
        order = self._find_order(first, everything)
        changes = [operation for operation in operations if operation.is_change]
        self._rounds.append(Round(initial, (*changes, settled), settled.end))
        return Verdict(first, everything, order, unprovoked(everything))

    def _find_order(self, first: State, operations: Sequence[Operation]) -> Order:
        """Return an order in which no read is older than needed, and none than is allowed."""
        while True:
            order = find_order(first, operations, self.oldest_age)
            if order.is_complete or self.oldest_age >= self.staleness:
                return order
            self.oldest_age = min(self.oldest_age + AGE_STEP, self.staleness)
