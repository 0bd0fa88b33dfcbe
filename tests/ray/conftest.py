"""What the tests on Ray share: one cluster for those that leave it as it was."""

import pytest

from tests.ray.cluster import clustered, serving


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    with clustered(tmp_path_factory.mktemp("cluster"), 3, 3) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def service(cluster, tmp_path_factory):
    """Two replicas, which tests share."""
    with serving(cluster, tmp_path_factory.mktemp("service") / "state", workers=2) as service:
        yield service
