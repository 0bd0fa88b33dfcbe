"""Faults of a simulated registry are found in its histories, and none where there is no fault."""

import pytest

from tests.rigs.histories.__main__ import describe
from tests.rigs.histories.simulation import INITIAL, Fault, Simulation
from tests.rigs.histories.timeline import Timeline

HISTORIES = 200


def verdict(seed, fault=None):
    return Timeline().check(INITIAL, *Simulation(seed, fault).run())


def test_histories_without_a_fault_are_explained():
    unexplained = [seed for seed in range(HISTORIES) if not verdict(seed).is_explained]
    assert unexplained == []


@pytest.mark.parametrize("fault", Fault)
def test_fault_is_found(fault):
    found = [seed for seed in range(HISTORIES) if not verdict(seed, fault).is_explained]
    assert len(found) > HISTORIES / 10, fault


def test_history_that_is_not_explained_is_shown_in_full():
    seed = next(n for n in range(HISTORIES) if not verdict(n, Fault.LOST_SWAP).is_explained)
    unexplained = verdict(seed, Fault.LOST_SWAP)
    lines = describe(unexplained)
    assert len(lines) >= len(unexplained.operations) + 3
    assert sum(line.startswith(" none") for line in lines) == len(unexplained.order.missing)
