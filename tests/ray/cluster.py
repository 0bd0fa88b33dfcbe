"""A Ray cluster of several nodes on this machine, and the app on it, as people run it."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import DATA, ROOT
from tests.service.running import Service, comes_true, free_port

RAY = Path(sys.executable).with_name("ray")
# What processes are called: a replica, a training's worker, what starts a training.
REPLICA = "ray::ServeReplica:mynet"
TRAINS = "ray::RayTrainWorker"
STARTS_JOBS = "-m app.on_ray.training"
STARTS, ENDS = 240, 120
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
    # For as long as a replica may take to start elsewhere: a node whose proxy is still asked over
    # kept connections ends no sooner.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "120",
}


class Node:
    """Ray's processes of one machine, were it one: all in a session of their own."""

    def __init__(self, log: Path, cpus: int, *options: str) -> None:
        self.log, self.metrics = log, free_port()
        there = f"--metrics-export-port={self.metrics}"
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [RAY, "start", "--block", f"--num-cpus={cpus}", there, *options, *self.small()],
                **{"env": ENVIRONMENT, "stdout": file, "stderr": file},
                start_new_session=True,
            )

    def wait(self):
        comes_true(lambda: self.process.poll() is not None or self.is_up(), STARTS)
        assert self.is_up(), self.log.read_text()

    def is_up(self):
        return "Ray runtime started" in self.log.read_text()

    @staticmethod
    def small():
        return ("--num-gpus=0", "--object-store-memory=80000000", "--disable-usage-stats")

    def running(self, title):
        """The processes with such a title, by number."""
        return [pid for pid, shown in self._processes() if title in shown]

    def kill(self):
        """Let the machine go dark."""
        while processes := [pid for pid, shown in self._processes() if "<defunct>" not in shown]:
            for pid in processes:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.process.poll()
        self.process.wait()

    def _processes(self):
        command = ["ps", "-ww", "-s", str(self.process.pid), "-o", "pid=,args="]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for line in told.splitlines():
            pid, _, shown = line.strip().partition(" ")
            yield int(pid), shown.strip()


class Cluster:
    """A head that keeps Serve's controller, and nodes that may be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"127.0.0.1:{self.port}"
        options = ("--head", "--include-dashboard=false")
        self.head = Node(folder / "head.log", 0, *options, f"--port={self.port}")
        self.head.wait()
        self.nodes: list[Node] = []

    def add(self, cpus):
        address = f"--address={self.address}"
        log = self.folder / f"node-{len(self.nodes)}.log"
        self.nodes.append(Node(log, cpus, address))
        return self.nodes[-1]

    def replicas(self):
        """The replicas that run, by number."""
        return [pid for node in (self.head, *self.nodes) for pid in node.running(REPLICA)]

    def having(self, title):
        """The nodes on which a process with such a title runs, but for the head."""
        return [node for node in self.nodes if node.running(title)]

    def end_serve(self):
        program = "import ray; from ray import serve; ray.init(); serve.shutdown()"
        python, there = RAY.with_name("python"), ENVIRONMENT | {"RAY_ADDRESS": self.address}
        subprocess.run([python, "-c", program], env=there, check=True, timeout=STARTS)

    def end(self):
        for node in (*self.nodes, self.head):
            node.kill()


@contextmanager
def clustered(folder: Path, *cpus: int) -> Iterator[Cluster]:
    """Give a cluster whose head runs nothing of ours, and other nodes with so many cores each."""
    cluster = Cluster(folder)
    try:
        for each in cpus:
            cluster.add(each).wait()  # at once, not all of them came up
        yield cluster
    finally:
        cluster.end()


def begin(cluster: Cluster | None, state: Path, port: int, log: Path, **settings: object):
    """Start `mynet serve --on ray`."""
    given = {"port": port, "state_dir": state, "data_dir": DATA, **settings}
    environment = {f"MYNET_{name.upper()}": str(value) for name, value in given.items()}
    there = {"RAY_ADDRESS": cluster.address} if cluster else {}
    with log.open("a") as file:
        return subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", "serve", "--on", "ray"],
            env=ENVIRONMENT | there | environment,
            stdout=file,
            stderr=file,
            text=True,
            start_new_session=True,
        )


@contextmanager
def serving(cluster: Cluster | None, state: Path, **settings: object) -> Iterator[Service]:
    """Serve on the cluster, until all replicas that there shall be at first are ready."""
    port, log = free_port(), state.with_name(f"{state.name}.log")
    process = begin(cluster, state, port, log, **settings)
    try:
        until = time.monotonic() + STARTS
        while "serving on" not in log.read_text():
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield Service(process, port, log)
    finally:
        process.terminate()
        try:
            process.wait(ENDS)
        except subprocess.TimeoutExpired:
            process.kill()
            if cluster:
                cluster.end_serve()  # else no other service could follow
            raise
