"""Replicas that come with the load, and go without a lost request."""

import asyncio
import json
import shutil
import subprocess
import threading

import httpx2
import pytest

from tests.ray.rigs.cluster import ENVIRONMENT, RAY
from tests.ray.rigs.jobs import LONG_JOB
from tests.ray.rigs.retrying_load import send_with_retries
from tests.ray.rigs.scraping import by_replica
from tests.rigs.load.http_load import run
from tests.service.running import TRAINING_TIMEOUT, free_port, wait_until

TIMEOUT = TRAINING_TIMEOUT
CONNECTIONS = 8
REQUEST_INTERVAL = 0.1  # a replica that goes needs the cores, too
FOLLOWERS = 24  # which replica each of them is given is drawn by chance


class DeclaredService:
    """A service by a Serve config, as `serve deploy` and `serve run` take it."""

    def __init__(self, cluster, folder, data_dir):
        self.cluster, self.folder, self.port = cluster, folder, free_port()
        self.settings = {"state_dir": folder / "state", "data_dir": data_dir, "auth": "none"}
        self.settings |= {"predict_timeout": 30}

    def deploy(self, replicas):
        variables = {f"MYNET_{name.upper()}": str(value) for name, value in self.settings.items()}
        autoscaling = {"min_replicas": replicas, "max_replicas": replicas}
        application = {
            "name": "mynet",
            "import_path": "app.on_ray:app",
            "runtime_env": {"env_vars": variables},
            "deployments": [{"name": "mynet", "autoscaling_config": autoscaling}],
        }
        file = self.folder / "serve.json"  # which is YAML, too
        http = {"host": "127.0.0.1", "port": self.port}
        # One proxy, which stays: Serve ends the proxy of a node that has no replica any more, and
        # with it the connections of clients that no load balancer keeps away from it.
        config = {"proxy_location": "HeadOnly", "http_options": http, "applications": [application]}
        file.write_text(json.dumps(config))
        self._serve("run", "--non-blocking", "--address", self.cluster.address, str(file))

    def ask(self, method, path, **options):
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx2.request(method, url, timeout=30, **options)

    def is_ready(self):
        return self.succeeds("GET", "/health/ready")

    def succeeds(self, method, path):
        try:
            return self.ask(method, path).is_success
        except httpx2.TransportError:
            return False

    def answer_counts(self):
        """Return how many readiness requests each replica has had, as of a few seconds ago."""
        return by_replica(self.cluster, "ray_mynet_http_requests_total", route="/health/ready")

    def _serve(self, *arguments):
        command = [RAY.with_name("serve"), *arguments]
        subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, timeout=TIMEOUT)


class Follower(threading.Thread):
    """A thread that follows a job until the test stops it."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url, self.received = url, ""
        self.start()

    def run(self):
        with httpx2.stream("GET", self.url, timeout=None) as answer:
            for part in answer.iter_text():
                self.received += part


@pytest.fixture
def state(versions, tmp_path):
    return shutil.copytree(versions[0], tmp_path / "state")


@pytest.fixture
def declared_service(no_service, cluster, state, small_data_dir):  # noqa: ARG001
    service = DeclaredService(cluster, state.parent, small_data_dir)
    counts_before = service.answer_counts()
    service.deploy(2)

    def both_answer():
        """Serve may know of one alone, and give it all that comes."""
        counts = [
            count for name, count in service.answer_counts().items() if name not in counts_before
        ]
        return service.is_ready() and len(counts) == 2 and all(counts)

    try:
        assert wait_until(both_answer, TIMEOUT)
        yield service
    finally:
        cluster.end_serve()


async def replicas(cluster, number):
    """Wait until Serve has so many replicas."""
    reached = await asyncio.to_thread(
        wait_until, lambda: len(cluster.replicas()) == number, TIMEOUT
    )
    assert reached, cluster.replicas()


def test_another_replica_comes_with_the_load(unused_ddp_service, cluster, reference):
    assert len(cluster.replicas()) == 2
    load = send_with_retries(
        unused_ddp_service.port,
        reference,
        CONNECTIONS,
        replicas(cluster, 3),
        key=unused_ddp_service.key,
    )
    result = run(load)
    assert (result.repeated, result.count_mismatches(reference)) == ([], 0)


def test_one_goes_without_a_lost_request(reference, declared_service, cluster):
    replicas_before = cluster.replicas()
    train = f"/train/{declared_service.ask('POST', '/train', json=LONG_JOB).json()['id']}"
    assert wait_until(lambda: declared_service.succeeds("POST", f"{train}/pause"), TIMEOUT), (
        "it has begun"
    )
    url = f"http://127.0.0.1:{declared_service.port}{train}/events"
    followers = [Follower(url) for _ in range(FOLLOWERS)]
    assert wait_until(lambda: all("event: status" in follower.received for follower in followers))

    async def shrink():
        await asyncio.sleep(1)
        await asyncio.to_thread(declared_service.deploy, 1)
        await replicas(cluster, 1)
        await asyncio.sleep(1)

    load = send_with_retries(
        declared_service.port, reference, CONNECTIONS, shrink(), interval=REQUEST_INTERVAL
    )
    result = run(load)
    assert (result.repeated, result.count_mismatches(reference)) == ([], 0)
    assert set(cluster.replicas()) < set(replicas_before), "the one that stays is no new one"
    finished = [follower for follower in followers if not follower.is_alive()]
    assert 0 < len(finished) < FOLLOWERS, "those of the one that went"
    assert all(follower.received.rstrip().endswith("retry: 2000") for follower in finished), (
        finished[0].received
    )
    declared_service.ask("POST", f"{train}/cancel").raise_for_status()
    for follower in followers:
        follower.join(TIMEOUT)
        assert not follower.is_alive()
