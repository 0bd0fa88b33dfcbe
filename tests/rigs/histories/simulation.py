"""A simulated registry with two services, which may have a fault: a history in a millisecond.

Its clock is a number. A change takes effect at one moment between call and end. A service reads the
registry as it was when the service last looked, or changed something itself.
"""

import random
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from tests.rigs.histories.model import Kind, Operation, Outcome, State, step

INITIAL: Final = State((2, 1), frozenset({1, 2, 3}), 3)
CLIENTS, REQUESTS, SERVICES = 5, 8, 2
MAX_STEP: Final = 0.3  # seconds from the call to the effect, from there to the end, and after it
POLL: Final = 0.75
OUTAGE: Final = 3.0
FAULTY: Final = 0.5  # of the requests that the fault concerns
KINDS: Final = (
    *(Kind.PREDICT, Kind.PREDICT, Kind.READ_LIVE, Kind.READ_VERSION),
    *(Kind.PROMOTE, Kind.PROMOTE, Kind.ROLL_BACK, Kind.DELETE, Kind.UPLOAD),
)


class Fault(StrEnum):
    """What a faulty registry does now and then."""

    LOST_SWAP = "a promotion overwrites what was changed since its call"
    STALE_READ = "a service looks at the registry too seldom"
    DOUBLE_NUMBER = "an upload gets the number that was free at its call"


class Moment(NamedTuple):
    """The registry from some time on."""

    time: float
    state: State


class Drawn(NamedTuple):
    """When a request takes effect, and its fields as an operation."""

    effect: float
    number: int
    fields: Mapping[str, Any]


class Simulation:
    """A registry for one history."""

    def __init__(self, seed: int, fault: Fault | None = None) -> None:
        self._random, self._fault = random.Random(seed), fault
        self._moments = [Moment(float("-inf"), INITIAL)]
        self._synchronized = [float("-inf")] * SERVICES

    def run(self) -> tuple[list[Operation], Operation]:
        """Return the operations of all clients, and the state in which they leave the registry."""
        drawn = sorted(request for client in range(CLIENTS) for request in self._draw(client))
        operations = [self._answer(request) for request in drawn]
        end = max(operation.end for operation in operations)
        return operations, Operation(Kind.SETTLED, end, end, answer=self._moments[-1].state)

    def _draw(self, client: int) -> list[Drawn]:
        requests, end = [], 0.0
        for number in range(REQUESTS):
            call = end + self._random.uniform(0, MAX_STEP)
            effect = call + self._random.uniform(0, MAX_STEP)
            end = effect + self._random.uniform(0, MAX_STEP)
            service = self._random.randrange(SERVICES)
            fields = {
                "kind": self._random.choice(KINDS),
                **{"call": call, "end": end, "client": client, "service": service},
                "connection": client * SERVICES + service,
                "argument": self._random.randint(1, INITIAL.last + 2),
            }
            requests.append(Drawn(effect, client * REQUESTS + number, fields))
        return requests

    def _answer(self, request: Drawn) -> Operation:
        question = Operation(**request.fields)
        if question.may_be_stale:
            state = self._state_at(self._last_look(question.service, request.effect))
            return _possible_answer(state, request.fields)
        state = self._base(question)
        operation = _possible_answer(state, request.fields)
        after = step(state, operation)
        assert after is not None
        self._moments.append(Moment(request.effect, after))
        self._synchronized[question.service] = request.effect
        return operation

    def _base(self, question: Operation) -> State:
        """Return the state that a change begins with: the present one, unless there is a fault."""
        state, at_call = self._moments[-1].state, self._state_at(question.call)
        if self._random.random() < FAULTY:
            if (self._fault, question.kind) == (Fault.LOST_SWAP, Kind.PROMOTE):
                return state._replace(history=at_call.history)
            if (self._fault, question.kind) == (Fault.DOUBLE_NUMBER, Kind.UPLOAD):
                return state._replace(last=at_call.last)
        return state

    def _last_look(self, service: int, time: float) -> float:
        if self._fault == Fault.STALE_READ and service == 0:
            return time - OUTAGE
        return max(time - time % POLL, self._synchronized[service])

    def _state_at(self, time: float) -> State:
        return next(moment.state for moment in reversed(self._moments) if moment.time <= time)


def _possible_answer(state: State, fields: Mapping[str, Any]) -> Operation:
    """Return the operation with the one answer that the state allows."""
    answers = (
        {"answer": answer, "outcome": outcome}
        for outcome in (Outcome.DONE, Outcome.NOT_FOUND, Outcome.CONFLICT)
        for answer in (None, state.last + 1, *state.history[:2], (*state.history, None)[:2])
    )
    candidates = (Operation(**fields, **answer) for answer in answers)
    return next(operation for operation in candidates if step(state, operation) is not None)
