"""MyNet and its peers as services of their own, awake only during their measurement.

A peer that polls while it idles would slow down the others, so all services but one are stopped.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tests.conftest import ROOT
from tests.rigs.load.closed_loop import Request, press_all
from tests.rigs.load.uploads import form, raw_request
from tests.service.running import run_service, wait_until

START_TIMEOUT: Final = 60
TERMINATE_TIMEOUT: Final = 3


class Peer(NamedTuple):
    """Its name, its module in `bench.peers`, the library that it needs, and how it is asked."""

    name: str
    module: str
    library: str
    build_request: Callable[[bytes], bytes] = form


PEERS: Final = (
    Peer("naive FastAPI", "naive", "fastapi"),
    Peer("Granian and FastAPI", "granian_peer", "granian"),
    Peer("Robyn", "robyn_peer", "robyn"),
    Peer("LitServe", "litserve_peer", "litserve"),
    Peer("mosec", "mosec_peer", "mosec", raw_request),
)
BARE: Final = Peer("bare uvicorn, no work", "bare", "uvicorn")


class Server(NamedTuple):
    """A running service: its name, its port, and the id of its process group."""

    name: str
    port: int
    group: int

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Resume it for a while."""
        os.killpg(self.group, signal.SIGCONT)
        try:
            yield
        except Exception as error:
            error.add_note(f"while {self.name} was measured")
            raise
        finally:
            self.suspend()

    def suspend(self) -> None:
        os.killpg(self.group, signal.SIGSTOP)


def is_installed(peer: Peer) -> bool:
    return find_spec(peer.library) is not None


@contextmanager
def mynet(workers: int = 1) -> Iterator[Server]:
    """Start MyNet on an empty state folder."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        service = stack.enter_context(run_service(Path(folder) / "var", workers=str(workers)))
        stack.callback(_end, service.process)
        if not wait_until(lambda: service.went_live == workers):
            raise RuntimeError(service.log.read_text())
        server = Server("MyNet", service.port, service.process.pid)
        server.suspend()
        yield server


@contextmanager
def start_peer(peer: Peer, request: Request) -> Iterator[Server]:
    """Start a peer, and wait until it answers a request with its digit."""
    port = _free_port()
    command = [sys.executable, "-m", f"bench.peers.{peer.module}", str(port)]
    with TemporaryDirectory() as folder, ExitStack() as stack:
        log = Path(folder) / "log"
        output = stack.enter_context(log.open("w"))
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder},  # what it leaves there goes with the folder
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        stack.callback(_end, process)
        deadline = time.monotonic() + START_TIMEOUT
        while not press_all(port, [request], 1).latencies:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{peer.name} does not answer: {log.read_text()}")
            time.sleep(0.1)
        server = Server(peer.name, port, process.pid)
        server.suspend()
        yield server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """End a process with all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(TERMINATE_TIMEOUT)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
