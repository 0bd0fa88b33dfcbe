"""What the tests on Ray share: one cluster for those that leave it as it was."""

import pytest

from tests.ray.cluster import clustered, serving


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    with clustered(tmp_path_factory.mktemp("cluster"), 3, 3) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("service") / "state"


@pytest.fixture(scope="session")
def service(cluster, state):
    """Two replicas, which tests share."""
    with serving(cluster, state, workers=2, train_threads=1) as service:
        yield service
