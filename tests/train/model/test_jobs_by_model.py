"""The life of jobs, leases, supervisors and sweeps, in orders that Hypothesis draws.

`JOBS_MODEL_EXAMPLES=2000` draws more of them, and makes a failing one as short as it can. Without
it, that would take longer than a test may.
"""

import os
import sys

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.train.model.machine import JobMachine
from tests.train.model.world import World, make_template

IS_LONG = "JOBS_MODEL_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("JOBS_MODEL_EXAMPLES", "10"))
STEPS = 60
PHASES = (Phase.generate, Phase.shrink) if IS_LONG else (Phase.generate,)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "mynet.db"
    make_template(path)
    return path


@pytest.mark.timeout(0 if IS_LONG else 300)
def test_jobs_keep_their_invariants_in_every_order(template, tmp_path_factory):
    statistics = {"examples": 0, "transitions": 0}

    def make_world(monkeypatch, train_jobs):
        statistics["examples"] += 1
        return World(tmp_path_factory.mktemp("world"), template, monkeypatch, train_jobs)

    class Machine(JobMachine):
        def __init__(self):
            self.monkeypatch = pytest.MonkeyPatch()
            super().__init__(lambda train_jobs: make_world(self.monkeypatch, train_jobs))

        def teardown(self):
            try:
                super().teardown()
            finally:
                self.monkeypatch.undo()
                if self.world:
                    statistics["transitions"] += self.world.invariants.transitions

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=[*HealthCheck],
            phases=PHASES,
        ),
    )
    sys.stdout.write(f"{statistics}\n")  # `-rP` shows it
    assert statistics["transitions"] >= EXAMPLES
