"""A job's batches shared by two workers: it ends as one worker's does, but for rounding."""

import os
import re
import signal

import pytest

from tests.ray.cluster import serving
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
from tests.service.running import comes_true

LOSS = re.compile(r"train loss: (\S+)")


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def service(cluster, tmp_path_factory, storage):
    settings = {"train_threads": 1, "ray_train_workers": 2, "ray_storage": storage}
    with serving(cluster, tmp_path_factory.mktemp("team") / "state", **settings) as service:
        yield service


def losses(log):
    return [float(loss) for loss in LOSS.findall(log)]


def test_two_workers_learn_what_one_does(service, cluster, storage, local):
    """Whichever of them is killed on the way."""
    job = begin(service, WANTED)
    for which in (0, 1):
        assert comes_true(lambda which=which: saved(storage, job) >= (which + 1, 0), SOON)
        assert comes_true(lambda: len(workers(cluster)) == 2, SOON), "Ray Train went on by then"
        both = workers(cluster)
        os.kill(both[which], signal.SIGKILL)
        assert comes_true(lambda both=both: not {*both} & {*workers(cluster)}, SOON)
    _, log = outcome(service, job)
    assert losses(log) == pytest.approx(losses(local[1]), rel=1e-3)
    assert service.get(f"/train/{job}")["attempt"] == 1, "Ray Train went on"
    assert comes_true(lambda: not (storage / job).exists()), "an ended job needs it no more"


def test_both_end_with_a_job(service, cluster, storage):
    """What was saved of one that is cancelled while it is paused goes when the next one ends."""
    others = storage / "others"
    others.mkdir()
    job = begin(service, ENDLESS)
    until(service, job, lambda body: body["epochs"])
    service.post(f"/train/{job}/pause")
    paused = until(service, job, lambda body: body["status"] == "paused")
    assert is_left(cluster)
    service.post(f"/train/{job}/resume")
    until(service, job, lambda body: len(body["epochs"]) > len(paused["epochs"]))
    service.post(f"/train/{job}/pause")
    assert is_left(cluster)
    assert comes_true(lambda: saved(storage, job) > (0, 0))
    service.post(f"/train/{job}/cancel")

    def the_next_one_sweeps():
        """Who ends late may still write after a sweep: the end of one more job brings another."""
        ended(service, begin(service, {**WANTED, "device": "mps"}), "failed")
        return comes_true(lambda: [*storage.iterdir()] == [others], 30)

    assert comes_true(the_next_one_sweeps, SOON)


def test_both_end_where_nothing_can_be_trained(service, cluster):
    """The other one is told, though the one that leads has begun nothing."""
    job = begin(service, {**WANTED, "device": "mps"})
    assert ended(service, job, "failed")["error"]["code"] == "bad_device"
    assert is_left(cluster)
