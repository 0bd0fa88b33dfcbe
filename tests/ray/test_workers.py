"""Two workers that share the batches of a job: the result is that of one worker, up to rounding."""

import os
import re
import signal

import pytest
import ray
import torch

from app.on_ray.training import RayCheckpointer
from app.torch_net import MyNet
from app.train.worker.attempt import PeerLost
from app.train.worker.state import Position
from tests.ray.rigs.jobs import (
    HYPERPARAMETERS,
    LONG_JOB,
    TIMEOUT,
    outcome,
    saved_position,
    start_job,
    wait_for_end,
    wait_for_job,
    wait_until_idle,
    workers,
)
from tests.service.running import wait_until

LOSS = re.compile(r"train loss: (\S+)")


@pytest.fixture
def storage(ddp_service):
    """Not below the state folder."""
    return ddp_service.jobs


def raise_actor_error(*_, **__):
    raise ray.exceptions.RayActorError


def losses(log):
    return [float(loss) for loss in LOSS.findall(log)]


def test_two_workers_learn_what_one_does(ddp_service, cluster, storage, local):
    """Whichever of them is killed on the way."""
    job = start_job(ddp_service, HYPERPARAMETERS)
    for which in (0, 1):
        assert wait_until(
            lambda which=which: saved_position(storage, job) >= (which + 1, 0), TIMEOUT
        )
        assert wait_until(lambda: len(workers(cluster)) == 2, TIMEOUT), "Ray Train went on by then"
        both = workers(cluster)
        os.kill(both[which], signal.SIGKILL)
        assert wait_until(lambda both=both: not {*both} & {*workers(cluster)}, TIMEOUT)
    _, log = outcome(ddp_service, job)
    assert losses(log) == pytest.approx(losses(local[1]), rel=1e-3)
    log = ddp_service.log.read_text()
    assert ddp_service.get(f"/train/{job}")["attempt"] == 1, f"Ray Train went on\n{log[-4000:]}"
    assert wait_until(lambda: not (storage / job).exists()), "an ended job needs it no more"


def test_both_end_with_a_job(ddp_service, cluster, storage):
    """The state of a job that is cancelled while paused is deleted when the next job ends."""
    others = storage / "others"
    others.mkdir()
    job = start_job(ddp_service, LONG_JOB)
    wait_for_job(ddp_service, job, lambda body: body["epochs"])
    ddp_service.post(f"/train/{job}/pause")
    paused = wait_for_job(ddp_service, job, lambda body: body["status"] == "paused")
    assert wait_until_idle(cluster)
    ddp_service.post(f"/train/{job}/resume")
    further = wait_for_job(
        ddp_service, job, lambda body: len(body["epochs"]) > len(paused["epochs"])
    )
    assert further["epochs"][: len(paused["epochs"])] == paused["epochs"]
    ddp_service.post(f"/train/{job}/pause")
    assert wait_until_idle(cluster)
    assert wait_until(lambda: saved_position(storage, job) > (0, 0))
    ddp_service.post(f"/train/{job}/cancel")

    def next_job_cleans_up():
        """A job may still write after a sweep: the end of one more job brings another. Nothing can
        be trained by this one: the worker that leads begins nothing, and tells the other one.
        """
        error = wait_for_end(
            ddp_service, start_job(ddp_service, {**HYPERPARAMETERS, "device": "mps"}), "failed"
        )["error"]
        assert error["code"] == "bad_device"
        assert wait_until_idle(cluster)
        return wait_until(lambda: [*storage.iterdir()] == [others], 30)

    assert wait_until(next_job_cleans_up, TIMEOUT)


def test_state_that_ray_train_cannot_save_means_a_lost_peer(monkeypatch):
    """The attempt must not end with an error of its own then: Ray Train goes on with it."""
    monkeypatch.setattr(ray.train, "report", raise_actor_error)
    model = MyNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with pytest.raises(PeerLost, match="Ray Train could not save the state"):
        RayCheckpointer().save(model, optimizer, Position())
