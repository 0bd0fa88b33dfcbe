"""A service in a process of its own, as people run it, for the tests that need one."""

import fcntl
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from urllib.request import Request, urlopen

DATA = Path(__file__).parents[2] / "data"
# Named where the tests run in another environment than the service.
MYNET = Path(os.environ.get("SERVICE") or Path(sys.executable).with_name("mynet"))
# Ray's workers listen below this range. Above it, the system may take a port for an outgoing
# connection before the service listens on it.
PORTS = range(20_000, 32_768)
_reserved: set[int] = set()
START_TIMEOUT = 300  # four workers on a machine that others load, too
ANSWER_TIMEOUT = 120
# Trainings have the lowest priority. On a machine that others load, one may take ten times as long.
TRAINING_TIMEOUT = 900
# A process may stand still for longer than the two seconds that a prediction may take by default.
LONG_TIME_OUTS = {"MYNET_PREDICT_TIMEOUT": str(ANSWER_TIMEOUT)}


class Service:
    """A running service: its process, where it listens, what it logged, and the key to use."""

    key: str | None = None

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        deadline = time.monotonic() + START_TIMEOUT
        while not self.is_ready():
            assert time.monotonic() < deadline, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)

    @property
    def access_headers(self):
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def is_ready(self):
        try:
            return self.get("/health/ready")
        except OSError:
            return False

    def get(self, path):
        return json.loads(self.text(path))

    def text(self, path):
        url = f"http://127.0.0.1:{self.port}{path}"
        with urlopen(Request(url, headers=self.access_headers), timeout=ANSWER_TIMEOUT) as answer:
            return answer.read().decode()

    def job_until(self, job, condition):
        """Wait until a job satisfies `condition`; it must not fail before that."""
        deadline = time.monotonic() + TRAINING_TIMEOUT
        while not condition(body := self.get(f"/train/{job}")):
            assert body["status"] not in ("failed", "cancelled"), body
            assert time.monotonic() < deadline, body
            time.sleep(0.1)
        return body

    def post(self, path, body=b""):
        with closing(HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request("POST", path, body, self.access_headers)
            return json.load(connection.getresponse())

    @property
    def trainings(self):
        """The training processes that this service started, oldest first."""
        pattern = r"worker process started: job=\w+ attempt=\d+ pid=(\d+)"
        return [int(pid) for pid in re.findall(pattern, self.log.read_text())]

    @property
    def workers(self):
        """The processes that serve, where there are several."""
        command = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(self.process.pid)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [int(line.split()[0]) for line in lines.splitlines() if "spawn_main" in line]

    @property
    def went_live(self):
        """How often a process of this service went live with a version."""
        return self.log.read_text().count("version went live")

    def training_is_gone(self):
        """Wait until the training processes of this service have ended."""
        assert self.trainings
        return are_gone(self.trainings)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(120)


def are_gone(pids):
    """Wait until training processes have ended; other processes may get their ids then."""
    command = ["ps", "-o", "args=", "-p", ",".join(map(str, pids))]

    def all_gone():
        alive = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return "app.train.worker" not in alive

    return wait_until(all_gone)


def wait_until(condition, seconds=TRAINING_TIMEOUT):
    """Wait until a condition is true; return False if it does not become true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def free_port() -> int:
    """Return a port that nothing listens on, and reserve it for this process until it ends.

    Other processes that run tests at the same time get other ports. The reservation is a lock on
    one byte of a file: the kernel drops it when the process ends, and a child does not inherit it.
    """
    reservations = _reservations()
    while True:
        port = random.choice(PORTS)
        if port in _reserved:  # a lock keeps out other processes alone
            continue
        with suppress(OSError):
            fcntl.lockf(reservations, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            _reserved.add(port)
            with socket.socket() as probe:
                probe.bind(("", port))
                return port


@cache
def _reservations() -> int:
    """Open the file of reservations. It stays open: to close it would drop every lock on it."""
    file = Path(tempfile.gettempdir()) / f"mynet-test-ports-{os.getuid()}"
    return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)


@contextmanager
def run_service(state: Path, **settings: str) -> Iterator[Service]:
    environment = {f"MYNET_{name.upper()}": str(value) for name, value in settings.items()}
    port = int(settings.get("port", 0)) or free_port()
    log = state.with_name(f"{state.name}-{port}.log")
    command = [MYNET, "serve"]
    defaults = {
        "MYNET_PORT": str(port),
        "MYNET_STATE_DIR": str(state),
        "MYNET_DATA_DIR": str(DATA),
        # Most services of tests train once: a standby process would import PyTorch in vain.
        "MYNET_TRAIN_STANDBY": "false",
    }
    with (
        log.open("a") as file,
        subprocess.Popen(
            command,
            env={**os.environ, **LONG_TIME_OUTS, **defaults, **environment},
            stderr=file,
            stdout=file,
            text=True,
            start_new_session=True,  # its share of the cores is not that of the load generator
        ) as process,
    ):
        try:
            yield Service(process, port, log)
        finally:
            process.kill()
