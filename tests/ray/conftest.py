"""What the tests on Ray share: one cluster for those that leave it as it was."""

import pytest

from tests.ray.cluster import clustered, serving
from tests.ray.jobs import trained_here


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    with clustered(tmp_path_factory.mktemp("cluster"), 3, 3) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("service") / "state"


@pytest.fixture(scope="module")
def service(cluster, state):
    """Two replicas, which the tests of a file share: a cluster has one service at a time."""
    with serving(cluster, state, workers=2, train_threads=1, train_jobs=2) as service:
        yield service


@pytest.fixture
def local(settings, store, registry):
    """What comes of the same training without Ray: the digest of its weights, and its log."""
    return trained_here(settings, store, registry)
