"""What the registry of versions does, one operation at a time: the specification of a history.

`step` applies an operation with the answer that a client got. An answer that the registry cannot
give in a state has no next state there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final, NamedTuple

MAX_HISTORY: Final = 100  # as `app.versions.registry.HISTORY`
# Seconds: "live on the others within two seconds", docs/how-to/bucket.md.
STALENESS: Final = 2.0


class Kind(StrEnum):
    """Operations; the first four change the registry."""

    PROMOTE = "promote"
    ROLL_BACK = "roll back"
    DELETE = "delete"
    UPLOAD = "upload"
    PREDICT = "predict"  # with the live version
    READ_LIVE = "read live"  # the live and the previously live version, of a listing
    READ_VERSION = "read version"  # whether a version exists
    SETTLED = "settled"  # the state in the bucket, read while no request is in flight


SWAPS: Final = frozenset({Kind.PROMOTE, Kind.ROLL_BACK})
CHANGES: Final = SWAPS | {Kind.DELETE, Kind.UPLOAD}


class Outcome(StrEnum):
    """What an answer says."""

    DONE = "done"
    NOT_FOUND = "not found"
    CONFLICT = "conflict"  # the version is live, or no version was live before
    LOST_RACE = "lost race"  # nothing changed, since another request was faster
    UNKNOWN = "unknown"  # it may have happened, or not


class State(NamedTuple):
    """The live versions, newest first, all versions, and the highest number ever given."""

    history: tuple[int, ...]
    versions: frozenset[int]
    last: int


Answer = int | tuple[int, int | None] | State | None


@dataclass(frozen=True, slots=True)
class Operation:
    """A request with its answer. Times are in seconds, of one clock.

    `connection` identifies the connection, and thus the process that answered; `argument` is a
    version.
    """

    kind: Kind
    call: float
    end: float
    outcome: Outcome = Outcome.DONE
    argument: int | None = None
    answer: Answer = None
    service: int = 0
    connection: int = 0
    client: int = 0

    @property
    def is_change(self) -> bool:
        return self.kind in CHANGES and self.outcome in (Outcome.DONE, Outcome.UNKNOWN)

    @property
    def is_optional(self) -> bool:
        return self.outcome == Outcome.UNKNOWN

    @property
    def may_be_stale(self) -> bool:
        return self.kind in (Kind.PREDICT, Kind.READ_LIVE, Kind.READ_VERSION)

    def describe(self) -> str:
        where = f"client {self.client}, service {self.service}, connection {self.connection}"
        argument = "" if self.argument is None else f" {self.argument}"
        answer = "" if self.answer is None else f" {self.answer}"
        return f"{where}: {self.kind}{argument}: {self.outcome}{answer}"

    def observes(self, change: "Operation") -> bool:
        """Return whether this read must show a change, since both went to the same place.

        A process predicts with the version that it made live itself, or with a later one. A
        service lists what it changed itself.
        """
        if not (self.may_be_stale and change.is_change and change.end < self.call):
            return False
        if self.kind == Kind.PREDICT:
            return change.kind in SWAPS and change.connection == self.connection
        return change.service == self.service


def step(state: State, operation: Operation) -> State | None:
    """Return the state after an operation, or None if its answer is impossible in this state."""
    match operation.kind:
        case Kind.PROMOTE:
            return _promote(state, operation)
        case Kind.ROLL_BACK:
            return _roll_back(state, operation)
        case Kind.DELETE:
            return _delete(state, operation)
        case Kind.UPLOAD:
            return _upload(state, operation)
    return state if _shows(operation, state) else None


def _promote(state: State, operation: Operation) -> State | None:
    version = _argument(operation)
    if operation.outcome == Outcome.NOT_FOUND:
        return None if version in state.versions else state
    if operation.outcome == Outcome.CONFLICT or version not in state.versions:
        return None
    return state._replace(history=_collapse((version, *state.history))[:MAX_HISTORY])


def _roll_back(state: State, operation: Operation) -> State | None:
    if operation.outcome == Outcome.LOST_RACE:
        return state
    before = state.history[1:]
    if operation.outcome == Outcome.CONFLICT:
        return None if before else state
    if not before or operation.outcome == Outcome.NOT_FOUND:
        return None
    is_other = operation.outcome == Outcome.DONE and operation.answer != before[0]
    return None if is_other else state._replace(history=before)


def _delete(state: State, operation: Operation) -> State | None:
    version = _argument(operation)
    if operation.outcome == Outcome.NOT_FOUND:
        return None if version in state.versions else state
    is_live = state.history[:1] == (version,)
    if operation.outcome == Outcome.CONFLICT:
        return state if is_live else None
    if is_live or version not in state.versions:
        return None
    left = _collapse(live for live in state.history if live != version)
    return state._replace(history=left, versions=state.versions - {version})


def _upload(state: State, operation: Operation) -> State | None:
    number = state.last + 1
    is_other = operation.outcome == Outcome.DONE and operation.answer != number
    if is_other or operation.outcome in (Outcome.NOT_FOUND, Outcome.CONFLICT):
        return None
    return state._replace(versions=state.versions | {number}, last=number)


def _shows(operation: Operation, state: State) -> bool:
    match operation.kind:
        case Kind.PREDICT:
            return operation.answer == state.history[0]
        case Kind.READ_LIVE:
            return operation.answer == (*state.history, None)[:2]
        case Kind.READ_VERSION:
            exists = operation.outcome == Outcome.DONE
            return (operation.argument in state.versions) == exists
    return operation.answer == state


def _argument(operation: Operation) -> int:
    assert operation.argument is not None
    return operation.argument


def _collapse(history: Iterable[int]) -> tuple[int, ...]:
    # Deleting a version can leave two equal neighbours.
    return tuple(version for version, _ in groupby(history))
