"""A few faults of `python -m bench chaos`."""

import sys
from math import inf

import pytest

from tests.rigs.chaos import chaos, faults

FAULT_NAMES = (
    "`kill -9` of the worker that supervises",
    "`CURRENT` is garbage",
    "a bit of other weights flips",
    "the database is garbage",
)


@pytest.mark.skipif(not faults.is_root(), reason="the disk of its own needs root")
def test_after_a_few_faults_nothing_is_wrong_or_lost():
    for outcomes in chaos.run_faults([(name, faults.ALL[name]) for name in FAULT_NAMES]).values():
        (outcome,) = outcomes
        assert (outcome.wrong, outcome.lost) == (0, 0), outcome
        assert outcome.answered > 0
        assert outcome.seconds < inf


def test_a_device_that_raises_is_told_and_taken_again():
    program = f"{sys.executable} -m tests.rigs.chaos.device_loss"
    (outcome,) = chaos.run_faults([(chaos.DEVICE, faults.device)], program, workers=1)[chaos.DEVICE]
    assert (outcome.wrong, outcome.lost, outcome.refused, outcome.cut) == (0, 0, 0, 0), outcome
