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
        changes = [operation for operation in operations if operation.is_change]
        start = min((operation.call for operation in operations), default=settled.call)
        while self._rounds and self._rounds[0].end < start - self.staleness:
            self._rounds.popleft()
        verdict = self._explain(initial, [*operations, settled], start)
        self._rounds.append(Round(initial, (*changes, settled), settled.end))
        return verdict

    def _explain(self, initial: State, operations: Sequence[Operation], start: float) -> Verdict:
        """Return an order in which no read is older than needed, and none than is allowed."""
        while True:
            age = self.oldest_age
            rounds = [round for round in self._rounds if round.end >= start - age]
            first = rounds[0].initial if rounds else initial
            everything = (*(change for round in rounds for change in round.changes), *operations)
            order = find_order(first, everything, age)
            if order.is_complete or age >= self.staleness:
                return Verdict(first, everything, order, unprovoked(everything))
            self.oldest_age = min(age + AGE_STEP, self.staleness)
