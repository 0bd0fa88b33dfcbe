"""A job whose training process and whose server are killed, beside the same job left alone."""

import json
import os
import random
import signal
import time
from itertools import pairwise

from tests.rigs.kills.job_monitor import Witness, read_saved
from tests.service.running import TRAINING_TIMEOUT, are_gone, run_service

HYPERPARAMETERS = {
    "epochs": 5,
    "batch_size": 200,
    "seed": 5,
    "promote": "never",
    "init": {"version": 1},
    "validation_fraction": 0.1,
    "early_stopping": {"patience": 4},
    "keep_checkpoints": True,
}
BATCHES = 270


class SavedStates:
    """A job's saved states, in the order in which they were seen."""

    def __init__(self, state, job):
        self.state, self.job = state, job
        self.states = []

    def wait_for_save(self):
        """Wait until the job has saved one more state, and for a random time after that."""
        deadline, target = time.monotonic() + TRAINING_TIMEOUT, len(self.states) + 1
        while len(self.states) < target:
            assert time.monotonic() < deadline
            self.record()
            time.sleep(0.05)
        time.sleep(random.uniform(0, 0.5))
        self.record()

    def record(self):
        state = read_saved(self.state, self.job, BATCHES)
        if state and state not in self.states:
            self.states.append(state)


def test_killed_again_and_again_it_goes_on_from_where_it_was_saved(tmp_path):
    state, request_body = tmp_path / "var", json.dumps(HYPERPARAMETERS).encode()
    witness = Witness(state)
    with run_service(state) as service:
        undisturbed = witness.outcome(service, service.post("/train", request_body)["id"])
        job = service.post("/train", request_body)["id"]
        saved_states = SavedStates(state, job)
        saved_states.wait_for_save()
        witness.observe(service, job)
        os.kill(service.trainings[-1], signal.SIGKILL)
        service.job_until(job, lambda body: body["attempt"] == 2)
        saved_states.record()  # the first attempt may have saved once more
        saved_states.wait_for_save()
        witness.observe(service, job)
        trainings = service.trainings
        service.end(signal.SIGKILL)
    with run_service(state) as service:
        saved_states.wait_for_save()
        interrupted = witness.outcome(service, job)
        assert service.get(f"/train/{job}")["attempt"] == 3
        service.end()
    assert interrupted == undisturbed, "the same weights, losses and log"
    assert interrupted.status == "succeeded"
    assert witness.changed_logs == 0, "what was shown stays"
    batches = [saved_state.batches for saved_state in saved_states.states]
    assert all(before < after for before, after in pairwise(batches)), "it never starts again"
    assert are_gone(trainings)
