"""A Ray cluster of several nodes on this machine, and the app on it, as people run it."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.conftest import DATA, ROOT
from tests.service.running import Service, free_port, wait_until

RAY = Path(sys.executable).with_name("ray")
# What processes are called: a replica, a training's worker, what starts a training.
REPLICA = "ray::ServeReplica:mynet"
TRAIN_WORKER = "ray::RayTrainWorker"
TRAINING_ENTRY_POINT = "-m app.on_ray.training"
MYNET = "from app.cli.main import main; main()"
START_TIMEOUT, STOP_TIMEOUT = 240, 120
CORES = 3
# Whichever the kernel has free. By default all agents want the same port, and all nodes give their
# workers the same range, so that two clusters could not be there at once.
ANY_PORTS = ("--dashboard-agent-listen-port=0", "--min-worker-port=0", "--max-worker-port=0")
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": f"{ROOT}:{ROOT / 'client/src'}",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    # A node that is gone is missed after five seconds, not thirty.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
    # The longest time that a draining node waits until its replicas run on other nodes, and its
    # proxy has no request in progress. Ray checks after the second figure, not after 30 seconds.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "5",
    # Metrics are collected every second, not every ten.
    "RAY_metrics_report_interval_ms": "1000",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
}


class RayService(Service):
    """A service on a cluster, the folder in which its jobs are saved, and what to ask it with."""

    def __init__(
        self, process: subprocess.Popen[str], port: int, log: Path, jobs: Path, key: str | None
    ) -> None:
        self.jobs, self.key = jobs, key
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        super().__init__(process, port, log)

    def text(self, path):
        return self._answer("GET", path)

    def post(self, path, body=b""):
        return json.loads(self._answer("POST", path, body))

    def put(self, path, body):
        return json.loads(self._answer("PUT", path, body))

    def _answer(self, method, path, body=None):
        """Raises HTTPError where the service refuses."""
        url = f"http://127.0.0.1:{self.port}{path}"
        request = Request(url, body, self.headers, method=method)
        with urlopen(request, timeout=30) as answer:
            return answer.read().decode()


class Node:
    """Ray's processes of one machine, were it one: all in a session of their own."""

    def __init__(self, log: Path, cpus: int, *options: str) -> None:
        self.log, self.metrics = log, free_port()
        ports = (f"--metrics-export-port={self.metrics}", *ANY_PORTS)
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [RAY, "start", "--block", f"--num-cpus={cpus}", *ports, *options, *self.small()],
                **{"env": ENVIRONMENT, "stdout": file, "stderr": file},
                start_new_session=True,
            )

    def wait(self):
        wait_until(lambda: self.process.poll() is not None or self.is_up(), START_TIMEOUT)
        assert self.is_up(), self.log.read_text()

    def is_named(self):
        """Return whether it has chosen names for its sockets and logs, which the raylet then has.

        Two nodes that choose at the same time choose the same, and one of them does not come up.
        """
        return self.process.poll() is not None or self.running("raylet/raylet ")

    def is_up(self):
        return "Ray runtime started" in self.log.read_text()

    @staticmethod
    def small():
        return ("--num-gpus=0", "--object-store-memory=80000000", "--disable-usage-stats")

    def running(self, title):
        """The processes with such a title, by number."""
        return [pid for pid, command_line in self._processes() if title in command_line]

    def kill(self):
        """Cut the machine off."""
        while processes := [
            pid for pid, command_line in self._processes() if "<defunct>" not in command_line
        ]:
            for pid in processes:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.process.poll()
        self.process.wait()

    def _processes(self):
        command = ["ps", "-ww", "-s", str(self.process.pid), "-o", "pid=,args="]
        output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for line in output.splitlines():
            pid, _, command_line = line.strip().partition(" ")
            yield int(pid), command_line.strip()


class Cluster:
    """A head that keeps Serve's controller, and nodes with three cores each that may be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.added = folder, free_port(), 0
        self.address = f"127.0.0.1:{self.port}"
        ports = (f"--port={self.port}", f"--ray-client-server-port={free_port()}")
        # No autoscaler, since the tests add nodes.
        options = ("--head", "--include-dashboard=false", "--no-monitor", *ports)
        self.head = Node(folder / "head.log", 0, *options)
        self.head.wait()
        self.nodes: list[Node] = []

    def grow(self, number):
        """Add nodes until there are so many."""
        # The head's log monitor reads the logs of all nodes, which share a folder here.
        options = (f"--address={self.address}", "--include-log-monitor=false")
        for index in range(self.added, self.added + number - len(self.nodes)):
            node = Node(self.folder / f"node-{index}.log", CORES, *options)
            self.nodes.append(node)
            self.added += 1
            assert wait_until(node.is_named, START_TIMEOUT)
        for node in self.nodes:
            node.wait()

    def lose(self, node):
        """Cut a node's machine off."""
        self.nodes.remove(node)
        node.kill()

    def replicas(self):
        """The replicas that run, by number."""
        return [pid for node in (self.head, *self.nodes) for pid in node.running(REPLICA)]

    def having(self, title):
        """The nodes, except the head, on which a process with such a title runs."""
        return [node for node in self.nodes if node.running(title)]

    def is_served(self, service):
        """Return whether each of Serve's proxies answers: on the head, and wherever a replica is.

        The latter begin to listen once there are replicas, and may not know the service at first.
        """
        proxies = 1 + len(self.having(REPLICA))
        return _count_listeners(service.port) == proxies and all(
            service.is_ready()
            for _ in range(8 * proxies)  # which proxy answers is drawn by chance
        )

    def end_serve(self):
        program = "import ray; from ray import serve; ray.init(); serve.shutdown()"
        python, environment = RAY.with_name("python"), ENVIRONMENT | {"RAY_ADDRESS": self.address}
        subprocess.run([python, "-c", program], env=environment, check=True, timeout=START_TIMEOUT)

    def end(self):
        for node in (*self.nodes, self.head):
            node.kill()


def _count_listeners(port):
    """Count the sockets that listen on this port: one for each proxy, since they share it."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    sockets = [(local, state) for _, local, _, state, *_ in map(str.split, lines)]
    return sum(local.endswith(f":{port:04X}") and state == "0A" for local, state in sockets)


@contextmanager
def run_cluster(folder: Path) -> Iterator[Cluster]:
    """Yield a cluster whose head runs nothing of ours; it has no other nodes yet."""
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.end()


def start_service(
    cluster: Cluster | None,
    state: Path,
    port: int,
    log: Path,
    program: str = MYNET,
    **settings: object,
):
    """Start `mynet serve --on ray`; names in capitals are no settings of ours."""
    all_settings = {"port": port, "state_dir": state, "data_dir": DATA, **settings}
    environment = {
        name if name.isupper() else f"MYNET_{name.upper()}": str(value)
        for name, value in all_settings.items()
    }
    ray_environment = {"RAY_ADDRESS": cluster.address} if cluster else {}
    with log.open("a") as file:
        return subprocess.Popen(
            [sys.executable, "-c", program, "serve", "--on", "ray"],
            env=ENVIRONMENT | ray_environment | environment,
            stdout=file,
            stderr=file,
            text=True,
            start_new_session=True,
        )


@contextmanager
def run_service(cluster: Cluster | None, state: Path, **settings: Any) -> Iterator[RayService]:
    """Serve on the cluster, and wait until all initial replicas are ready."""
    port, log = free_port(), state.with_name(f"{state.name}.log")
    process = start_service(cluster, state, port, log, **settings)
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while "serving on" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        jobs, key = settings.get("ray_storage", state / "jobs"), settings.get("admin_key")
        service = RayService(process, port, log, jobs, key)
        assert cluster is None or wait_until(lambda: cluster.is_served(service), START_TIMEOUT)
        yield service
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            if cluster:
                cluster.end_serve()  # else no other service could follow
            raise
