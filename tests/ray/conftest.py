"""Shared fixtures of the Ray tests: a cluster, and the service on it."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ray.rigs.cluster import REPLICA, Cluster, Node, RayService, run_cluster, run_service
from tests.ray.rigs.jobs import train_locally
from tests.rigs.swaps import distinct_versions
from tests.service.running import wait_until

KEY = "the-first-key-of-all"
REQUEST_COUNT = 16  # so that each replica is asked
PLAIN_SETTINGS = {"workers": 2, "train_threads": 1, "train_jobs": 2, "predict_timeout": 30}
# `mynet` that adds a replica after a second of load. Ray waits for thirty, by a default that no
# variable of its own changes.
FAST_SCALING_PROGRAM = """
from functools import partial
from app.cli.main import main
from app.on_ray import serving

serving.AutoscalingConfig = partial(serving.AutoscalingConfig, upscale_delay_s=1)
main()
"""
DDP_SETTINGS = {
    **{
        "workers": 2,
        "ray_max_replicas": 3,
        "ray_target_requests": 2,
        "program": FAST_SCALING_PROGRAM,
    },
    **{"train_threads": 1, "ray_train_workers": 2, "predict_timeout": 30},
    **{"auth": "keys", "admin_key": KEY},
}
# Tests that use the same of these follow one another, so that each is started once.
ORDER = ("unused_ddp_service", "ddp_service", "no_service", "unused_service", "service", "lose")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def position(item: pytest.Item) -> int:
        uses = getattr(item, "fixturenames", ())
        return max((ORDER.index(name) for name in uses if name in ORDER), default=-1)

    items.sort(key=position)


class Shared:
    """The service that tests share: a cluster has one at a time."""

    def __init__(self, cluster: Cluster, folder: Path, template: Path, data_dir: Path) -> None:
        self.cluster, self.folder, self.template = cluster, folder, template
        self.data_dir = data_dir
        self.started = 0
        self._settings: dict[str, object] = {}
        self._stack = ExitStack()
        self._service: RayService | None = None

    def get(self, settings: dict[str, object]) -> RayService:
        """Return a service with these settings: the one that runs, if it is like that."""
        if self._service and self._settings == settings and self._service.is_ready():
            return self._service
        self.end()
        self.started += 1
        state = self.folder / f"state-{self.started}"
        shutil.copytree(self.template, state)
        context = run_service(self.cluster, state, data_dir=self.data_dir, **settings)
        self._service, self._settings = self._stack.enter_context(context), settings
        return self._service

    def end(self) -> None:
        self._service = None
        self._stack.close()


@pytest.fixture(scope="session")
def small_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with run_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(small_cluster: Cluster) -> Cluster:
    """The one cluster, with two nodes beside its head, whichever a test has lost."""
    small_cluster.grow(2)
    return small_cluster


@pytest.fixture(scope="session")
def versions(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, distinct_versions.ReferenceAnswers]:
    """A state folder with three versions that are alike, and what each of them answers."""
    folder = tmp_path_factory.mktemp("versions") / "state"
    return folder, distinct_versions.make(folder)


@pytest.fixture(scope="session")
def shared(small_cluster, versions, small_data_dir, tmp_path_factory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("services")
    shared = Shared(small_cluster, folder, versions[0], small_data_dir)
    try:
        yield shared
    finally:
        shared.end()


@pytest.fixture
def service(shared: Shared, cluster: Cluster) -> RayService:  # noqa: ARG001
    """Two replicas with version 1 live."""
    service = shared.get(PLAIN_SETTINGS)

    def first_is_live():
        ready = [service.get("/health/ready") for _ in range(REQUEST_COUNT)]
        return {health["version"] for health in ready} == {1}

    if not first_is_live():  # a test has promoted another one
        service.put("/models/current", json.dumps({"version": 1}).encode())
        assert wait_until(first_is_live)
    return service


@pytest.fixture
def unused_service(shared: Shared, request: pytest.FixtureRequest) -> RayService:
    """The same, which nothing was asked of yet."""
    shared.end()
    service: RayService = request.getfixturevalue("service")
    return service


@pytest.fixture
def spread_service(shared: Shared, cluster: Cluster, service: RayService) -> RayService:
    """The same, with a replica on each node: Serve moves none when a lost node is replaced."""
    if all(node.running(REPLICA) for node in cluster.nodes):
        return service
    shared.end()
    return shared.get(PLAIN_SETTINGS)


@pytest.fixture
def ddp_service(shared: Shared, cluster: Cluster) -> RayService:  # noqa: ARG001
    """Two replicas, or three after load, that need a key.

    Two workers share each of their jobs, and save it outside the state folder.
    """
    return shared.get({**DDP_SETTINGS, "ray_storage": shared.folder / "storage"})


@pytest.fixture
def unused_ddp_service(shared: Shared, request: pytest.FixtureRequest) -> RayService:
    """The same, which nothing was asked of yet."""
    shared.end()
    ddp_service: RayService = request.getfixturevalue("ddp_service")
    return ddp_service


@pytest.fixture
def no_service(shared: Shared) -> None:
    """A cluster on which another service may be started."""
    shared.end()


@pytest.fixture
def lose(cluster: Cluster, service: RayService) -> Callable[[Node], None]:  # noqa: ARG001
    """Lose a node of the cluster on which a service runs."""
    return cluster.lose


@pytest.fixture
def reference(
    versions: tuple[Path, distinct_versions.ReferenceAnswers],
) -> distinct_versions.ReferenceAnswers:
    return versions[1]


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, small_data_dir: Path) -> tuple[str, str]:
    """The same training without Ray: the digest of its weights, and its log."""
    return train_locally(tmp_path_factory.mktemp("local"), small_data_dir)
