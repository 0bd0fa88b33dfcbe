"""Histories of two services, on one database and one bucket, for the mutants.

`make histories` checks the same with more of them, so `make test-service` leaves this file out.
"""

import secrets

import pytest

from tests.rigs.histories.__main__ import EXPECTED_ANSWERS, describe
from tests.rigs.histories.deployment import run_deployment
from tests.rigs.histories.run import Histories

HISTORIES = 40
# Seconds, since other tests may load the machine. What a process or a service changed itself, it
# shows at once all the same.
STALENESS = 30.0


@pytest.fixture
def deployment(tmp_path):
    with run_deployment(tmp_path) as deployment:
        yield deployment


def test_one_order_explains_each_history(deployment):
    seed = secrets.randbelow(10**6)
    histories = Histories(deployment, seed, STALENESS)
    for number in range(HISTORIES):
        verdict = histories.check_next()
        assert verdict.is_explained, "\n".join([f"seed {seed}, {number}", *describe(verdict)])
    for answer in EXPECTED_ANSWERS:
        assert histories.counts[answer], histories.counts
