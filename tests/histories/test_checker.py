"""The search for an order: of histories that have one, and of some that have none."""

import random
from itertools import permutations

import pytest

from tests.rigs.histories import checker
from tests.rigs.histories.checker import Undecided, find_order, unprovoked
from tests.rigs.histories.model import STALENESS, Kind, Operation, Outcome, State, step

STATE = State((2, 1), frozenset({1, 2, 3}), 3)
LATER = 10 * STALENESS


def promote(version, call, end, outcome=Outcome.DONE, **fields):
    return Operation(Kind.PROMOTE, call, end, outcome, argument=version, **fields)


def roll_back(answer, call, end, outcome=Outcome.DONE):
    return Operation(Kind.ROLL_BACK, call, end, outcome, answer=answer)


def delete(version, call, end, outcome=Outcome.DONE, **fields):
    return Operation(Kind.DELETE, call, end, outcome, argument=version, **fields)


def upload(answer, call, end):
    return Operation(Kind.UPLOAD, call, end, answer=answer)


def predict(version, call, end, connection=9, **fields):
    return Operation(Kind.PREDICT, call, end, answer=version, connection=connection, **fields)


def read(version, call, end, outcome=Outcome.DONE, service=9, **fields):
    return Operation(
        Kind.READ_VERSION, call, end, outcome, argument=version, service=service, **fields
    )


def settled(history, versions, last, call=LATER):
    return Operation(Kind.SETTLED, call, call + 1, answer=State(history, frozenset(versions), last))


EXPLAINED = {
    "nothing": [],
    "a rollback after a promotion": [promote(3, 0, 1), roll_back(2, 2, 3)],
    "of two at once, the second is first": [promote(3, 0, 3), roll_back(1, 1, 2)],
    "a deletion that a promotion forestalled": [
        promote(3, 0, 3),
        delete(3, 1, 2, Outcome.CONFLICT),
    ],
    "a promotion that a deletion forestalled": [
        delete(3, 0, 3),
        promote(3, 1, 2, Outcome.NOT_FOUND),
    ],
    "uploads at once": [upload(5, 0, 3), upload(4, 1, 2)],
    "a promotion of the live version": [promote(2, 0, 1), roll_back(1, 2, 3)],
    "equal neighbours after a deletion": [
        *(promote(3, 0, 1), promote(2, 2, 3), delete(3, 4, 5), roll_back(1, 6, 7)),
    ],
    "a read of before, soon enough": [promote(3, 0, 1), predict(2, 1 + STALENESS / 2, 9)],
    "a read of what is about to be": [predict(3, 0, 3), promote(3, 1, 4)],
    "a version that is not listed yet": [upload(4, 0, 1), read(4, 2, 3, Outcome.NOT_FOUND)],
    "another process is behind": [
        *(promote(3, 0, 1, connection=1), predict(2, 1.1, 1.2, connection=2)),
    ],
    "a deletion swaps no model": [
        *(promote(3, 0, 1, connection=2), delete(1, 1, 1.1, connection=1)),
        predict(2, 1.2, 1.3, connection=1),
    ],
    "an unanswered promotion that happened": [
        *(promote(3, 0, 1, Outcome.UNKNOWN), settled((3, 2, 1), {1, 2, 3}, 3)),
    ],
    "an unanswered promotion that did not happen": [
        *(promote(3, 0, 1, Outcome.UNKNOWN), settled((2, 1), {1, 2, 3}, 3)),
    ],
    "a lost race changes nothing": [
        *(promote(3, 0, 3), roll_back(None, 1, 2, Outcome.LOST_RACE), roll_back(2, 4, 5)),
    ],
}
UNEXPLAINED = {
    "a lost promotion": [promote(3, 0, 1), settled((2, 1), {1, 2, 3}, 3)],
    "two promotions over the same version": [
        *(promote(3, 0, 2), promote(1, 1, 3), settled((1, 2, 1), {1, 2, 3}, 3)),
    ],
    "a rollback twice to the same version": [roll_back(1, 0, 2), roll_back(1, 1, 3)],
    "a double number": [upload(4, 0, 3), upload(4, 1, 2)],
    "a number that was given before": [upload(4, 0, 1), delete(4, 2, 3), upload(4, 4, 5)],
    "a number that was left out": [upload(5, 0, 1)],
    "the live version was deleted": [promote(3, 0, 1), delete(3, 2, 3)],
    "a deleted version went live": [delete(3, 0, 1), promote(3, 2, 3)],
    "a promotion of what exists is refused": [promote(3, 0, 1, Outcome.NOT_FOUND)],
    "a read that is too old": [promote(3, 0, 1), predict(2, 1.1 + STALENESS, 9)],
    "a read of a version that never was live": [predict(3, 0, 1)],
    "a read of what comes later": [predict(3, 0, 1), promote(3, 2, 3)],
    "a listing without a version": [read(3, 0, 1, Outcome.NOT_FOUND)],
    "a process forgets what it made live": [
        *(promote(3, 0, 1, connection=1), predict(2, 1.1, 1.2, connection=1)),
    ],
    "a service lists what it deleted": [
        *(delete(3, 0, 1, service=1), read(3, 1.1, 1.2, service=1)),
    ],
    "no version was live before, although one was": [roll_back(None, 0, 1, Outcome.CONFLICT)],
}


@pytest.mark.parametrize("operations", EXPLAINED.values(), ids=EXPLAINED)
def test_find_order_history_with_an_order_returns_it(operations):
    order = find_order(STATE, operations)
    assert order.is_complete
    required = [operation for operation in operations if not operation.is_optional]
    assert [operation for operation in required if operation not in order.operations] == []
    state = STATE
    for operation in order.operations:
        state = step(state, operation)
    assert state == order.state


@pytest.mark.parametrize("operations", UNEXPLAINED.values(), ids=UNEXPLAINED)
def test_find_order_history_without_an_order_names_what_is_missing(operations):
    order = find_order(STATE, operations)
    assert order.missing
    assert {*order.missing, *order.operations} == {*operations}


def test_unprovoked_names_races_that_were_lost_to_nobody():
    lost = roll_back(None, 0, 1, Outcome.LOST_RACE)
    assert unprovoked([lost, promote(3, 0.5, 2)]) == []
    assert unprovoked([lost, promote(3, 2, 3), promote(9, 0, 1, Outcome.NOT_FOUND)]) == [lost]


def test_find_order_too_many_configurations_raises(monkeypatch):
    monkeypatch.setattr(checker, "MAX_CONFIGURATIONS", 20)
    with pytest.raises(Undecided, match="9 operations"):
        find_order(STATE, [*(promote(1 + n % 3, 0, 1) for n in range(8)), upload(9, 0, 1)])


def has_order(operations):
    """Try all orders."""
    return any(
        all(
            not later.end < earlier.call and not earlier.observes(later)
            for position, earlier in enumerate(order)
            for later in order[position + 1 :]
        )
        and leads_on(order)
        for order in permutations(operations)
    )


def leads_on(order):
    state = STATE
    for operation in order:
        state = step(state, operation)
        if state is None:
            return False
    return True


def draw_operation(rng):
    call = rng.uniform(0, 3)
    times = call, call + rng.uniform(0, 2)
    version = rng.choice((1, 2, 3, 3, 4))
    fields = {"connection": rng.randrange(2), "service": rng.randrange(2)}
    return rng.choice((
        *(promote(version, *times, **fields), promote(version, *times, Outcome.NOT_FOUND)),
        *(roll_back(version, *times), delete(version, *times, **fields), upload(version, *times)),
        *(predict(version, *times, **fields), read(version, *times, **fields)),
    ))  # fmt: skip


def test_find_order_agrees_with_trying_all_orders():
    rng, found = random.Random(1993), {True: 0, False: 0}
    for _ in range(2000):
        operations = [draw_operation(rng) for _ in range(rng.randint(2, 5))]
        expected = has_order(operations)
        found[expected] += 1
        # No read may be stale: then an order of all is a usual permutation.
        assert find_order(STATE, operations, staleness=0.0).is_complete == expected, operations
    assert min(found.values()) > 100, found
