"""A node that goes dark takes a training's worker along, or the process that started it."""

from tests.ray.cluster import STARTS_JOBS, TRAINS
from tests.ray.jobs import SOON, WANTED, begin, outcome, saved
from tests.service.running import wait_until


def test_a_job_outlives_the_nodes_it_runs_on(service, cluster, lose, local):
    cluster.grow(3)
    job = begin(service, WANTED)
    for done, dark in ((1, TRAINS), (2, STARTS_JOBS)):
        assert wait_until(lambda done=done: saved(service.jobs, job) >= (done, 0), SOON)
        assert wait_until(lambda dark=dark: cluster.having(dark), SOON)
        (node,) = cluster.having(dark)
        lose(node)
    assert outcome(service, job) == local
