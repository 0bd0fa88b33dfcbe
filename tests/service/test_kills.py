"""A job whose training process and whose server are killed, beside the same job left alone."""

import json
import os
import random
import signal
import time
from itertools import pairwise

from tests.rigs.kills.job_monitor import Witness, read_saved
from tests.service.running import are_gone, serving

WANTED = {"epochs": 5, "batch_size": 200, "seed": 5, "promote": "never"}
BATCHES = 300


class Watched:
    """A job's saved states, in the order in which they were seen."""

    def __init__(self, state, job):
        self.state, self.job = state, job
        self.seen = []

    def until_saved(self):
        """Wait until one more state has been seen, and a random moment longer."""
        until, wanted = time.monotonic() + 120, len(self.seen) + 1
        while len(self.seen) < wanted:
            assert time.monotonic() < until
            self.look()
            time.sleep(0.05)
        time.sleep(random.uniform(0, 0.5))
        self.look()

    def look(self):
        state = read_saved(self.state, self.job, BATCHES)
        if state and state not in self.seen:
            self.seen.append(state)


def test_killed_again_and_again_it_goes_on_from_where_it_was_saved(tmp_path):
    state, wanted = tmp_path / "var", json.dumps(WANTED).encode()
    witness = Witness(state)
    with serving(state) as service:
        calm = witness.outcome(service, service.post("/train", wanted)["id"])
        job = service.post("/train", wanted)["id"]
        watched = Watched(state, job)
        watched.until_saved()
        witness.observe(service, job)
        os.kill(service.trainings[-1], signal.SIGKILL)
        watched.until_saved()
        witness.observe(service, job)
        trainings = service.trainings
        service.end(signal.SIGKILL)
    with serving(state) as service:
        watched.until_saved()
        killed = witness.outcome(service, job)
        assert service.get(f"/train/{job}")["attempt"] == 3
        service.end()
    assert killed == calm, "the same weights, losses and log"
    assert killed.status == "succeeded"
    assert witness.changed_logs == 0, "what was shown stays"
    batches = [each.batches for each in watched.seen]
    assert all(before < after for before, after in pairwise(batches)), "it never starts again"
    assert are_gone(trainings)
