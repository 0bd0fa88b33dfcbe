"""Linearizability: the search for one order of the operations that explains all answers.

The search is that of J. M. Wing and C. Gong, "Testing and verifying concurrent objects", Journal of
Parallel and Distributed Computing 17 (1993): an operation may come next if no operation that ended
before it began is still missing. G. Lowe, "Testing for linearizability", Concurrency and
Computation: Practice and Experience 29 (2017), adds the memory of configurations: to come again to
the same operations and the same state leads nowhere new.

Two rules are added. A read that may be stale begins earlier by the allowed seconds, since to show
a state of then is to have read it then. A read that shows the present state comes at once: it
changes nothing, so no order is lost.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from operator import or_
from typing import Final, NamedTuple

from tests.rigs.histories.model import STALENESS, Operation, Outcome, State, step

MAX_CONFIGURATIONS: Final = 100_000


class Order(NamedTuple):
    """The operations in an order that explains them; if none does, the longest part of one."""

    operations: tuple[Operation, ...]
    missing: tuple[Operation, ...]
    state: State

    @property
    def is_complete(self) -> bool:
        return not self.missing


class Configuration(NamedTuple):
    """A state, and the operations that led to it: as bits, and in their order, last one first."""

    state: State
    done: int
    order: "tuple[int, object] | None"


class Undecided(Exception):
    """The history has too many configurations."""


def find_order(
    initial: State, operations: Sequence[Operation], staleness: float = STALENESS
) -> Order:
    """Return an order of the operations from the initial state, complete if there is one.

    Raises Undecided beyond MAX_CONFIGURATIONS.
    """
    operations = sorted(operations, key=lambda operation: operation.call)
    search = _Search(operations, staleness)
    stack = [Configuration(initial, 0, None)]
    best = stack[0]
    visited: set[tuple[int, State]] = set()
    while stack:
        configuration = search.take_reads(stack.pop())
        if (configuration.done, configuration.state) in visited:
            continue
        visited.add((configuration.done, configuration.state))
        if len(visited) > MAX_CONFIGURATIONS:
            raise Undecided(f"{len(operations)} operations")
        if configuration.done.bit_count() > best.done.bit_count():
            best = configuration
        if search.is_complete(configuration):
            return search.to_order(configuration)
        stack += reversed(search.next_changes(configuration))
    return search.to_order(best)


class _Search:
    """The operations of one history, by their positions, and which must come before which."""

    def __init__(self, operations: Sequence[Operation], staleness: float) -> None:
        self.operations = operations
        positions = range(len(operations))
        self.required = sum(1 << i for i in positions if not operations[i].is_optional)
        self.changes = [i for i in positions if operations[i].is_change]
        self.reads = [i for i in positions if not operations[i].is_change]
        self.before = _before(operations, staleness)

    def take_reads(self, configuration: Configuration) -> Configuration:
        """Add all operations that may come next and change nothing, as often as there are some."""
        state, done, order = configuration
        is_new = True
        while is_new:
            is_new = False
            for i in self.reads:
                if self._may_follow(done, i) and step(state, self.operations[i]) == state:
                    done, order, is_new = done | 1 << i, (i, order), True
        return Configuration(state, done, order)

    def next_changes(self, configuration: Configuration) -> list[Configuration]:
        """Return the configurations that one change leads to."""
        state, done, order = configuration
        return [
            Configuration(after, done | 1 << i, (i, order))
            for i in self.changes
            if self._may_follow(done, i) and (after := step(state, self.operations[i])) is not None
        ]

    def is_complete(self, configuration: Configuration) -> bool:
        return not self.required & ~configuration.done

    def to_order(self, configuration: Configuration) -> Order:
        positions, rest = [], configuration.order
        while rest is not None:
            position, rest = rest
            positions.append(position)
        missing = tuple(
            operation
            for i, operation in enumerate(self.operations)
            if (self.required & ~configuration.done) >> i & 1
        )
        ordered = tuple(self.operations[i] for i in reversed(positions))
        return Order(ordered, missing, configuration.state)

    def _may_follow(self, done: int, i: int) -> bool:
        return not done >> i & 1 and not self.before[i] & ~done


def _before(operations: Sequence[Operation], staleness: float) -> list[int]:
    """Return for each operation those that must come before it, as bits."""
    ended = sorted((o.end, i) for i, o in enumerate(operations) if not o.is_optional)
    ends = [end for end, _ in ended]
    until = [*accumulate((1 << i for _, i in ended), or_, initial=0)]
    changes = [(1 << i, o) for i, o in enumerate(operations) if o.is_change and not o.is_optional]
    before = []
    for operation in operations:
        start = operation.call - (staleness if operation.may_be_stale else 0.0)
        bits = until[bisect_left(ends, start)]
        if operation.may_be_stale:
            for bit, change in changes:
                bits |= bit if operation.observes(change) else 0
        before.append(bits)
    return before


def unprovoked(operations: Sequence[Operation]) -> list[Operation]:
    """Return the requests that claim to have lost a race, although no change was under way.

    A change whose outcome is unknown may be under way for long after its answer.
    """
    changes = [operation for operation in operations if operation.is_change]
    return [
        lost
        for lost in operations
        if lost.outcome == Outcome.LOST_RACE
        and not any(
            change.call < lost.end and (lost.call < change.end or change.is_optional)
            for change in changes
        )
    ]
