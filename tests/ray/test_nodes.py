"""A node that goes dark takes a training's worker along, or the process that started it."""

from tests.ray.rigs.cluster import TRAIN_WORKER, TRAINING_ENTRY_POINT
from tests.ray.rigs.jobs import HYPERPARAMETERS, TIMEOUT, outcome, saved_position, start_job
from tests.service.running import wait_until


def test_a_job_outlives_the_nodes_it_runs_on(service, cluster, lose, local):
    cluster.grow(3)
    job = start_job(service, HYPERPARAMETERS)
    for done, dark in ((1, TRAIN_WORKER), (2, TRAINING_ENTRY_POINT)):
        assert wait_until(lambda done=done: saved_position(service.jobs, job) >= (done, 0), TIMEOUT)
        assert wait_until(lambda dark=dark: cluster.having(dark), TIMEOUT)
        (node,) = cluster.having(dark)
        lose(node)
    assert outcome(service, job) == local
