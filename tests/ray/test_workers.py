"""A job's batches shared by two workers: it ends as one worker's does, but for rounding."""

import os
import re
import signal

import pytest

from tests.ray.jobs import (
    ENDLESS,
    SOON,
    WANTED,
    begin,
    ended,
    is_left,
    outcome,
    saved,
    until,
    workers,
)
from tests.service.running import wait_until

LOSS = re.compile(r"train loss: (\S+)")


@pytest.fixture
def storage(team):
    """Not below the state folder."""
    return team.jobs


def losses(log):
    return [float(loss) for loss in LOSS.findall(log)]


def test_two_workers_learn_what_one_does(team, cluster, storage, local):
    """Whichever of them is killed on the way."""
    job = begin(team, WANTED)
    for which in (0, 1):
        assert wait_until(lambda which=which: saved(storage, job) >= (which + 1, 0), SOON)
        assert wait_until(lambda: len(workers(cluster)) == 2, SOON), "Ray Train went on by then"
        both = workers(cluster)
        os.kill(both[which], signal.SIGKILL)
        assert wait_until(lambda both=both: not {*both} & {*workers(cluster)}, SOON)
    _, log = outcome(team, job)
    assert losses(log) == pytest.approx(losses(local[1]), rel=1e-3)
    assert team.get(f"/train/{job}")["attempt"] == 1, "Ray Train went on"
    assert wait_until(lambda: not (storage / job).exists()), "an ended job needs it no more"


def test_both_end_with_a_job(team, cluster, storage):
    """What was saved of one that is cancelled while it is paused goes when the next one ends."""
    others = storage / "others"
    others.mkdir()
    job = begin(team, ENDLESS)
    until(team, job, lambda body: body["epochs"])
    team.post(f"/train/{job}/pause")
    paused = until(team, job, lambda body: body["status"] == "paused")
    assert is_left(cluster)
    team.post(f"/train/{job}/resume")
    until(team, job, lambda body: len(body["epochs"]) > len(paused["epochs"]))
    team.post(f"/train/{job}/pause")
    assert is_left(cluster)
    assert wait_until(lambda: saved(storage, job) > (0, 0))
    team.post(f"/train/{job}/cancel")

    def the_next_one_sweeps():
        """A job may still write after a sweep: the end of one more job brings another. Nothing can
        be trained by this one: the worker that leads begins nothing, and tells the other one.
        """
        error = ended(team, begin(team, {**WANTED, "device": "mps"}), "failed")["error"]
        assert error["code"] == "bad_device"
        assert is_left(cluster)
        return wait_until(lambda: [*storage.iterdir()] == [others], 30)

    assert wait_until(the_next_one_sweeps, SOON)
