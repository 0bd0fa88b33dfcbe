"""The target of the chaos test: a service under light load on a small disk of its own.

It records every answer during a fault, the seconds to recovery, and what the service lost.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.rigs.load.http_load import Exchange, load, run
from tests.rigs.swaps.distinct_versions import ReferenceAnswers, count_mismatches, make
from tests.service import running
from tests.service.running import Service, run_service

SIZE: Final = "48m"
UNPRIVILEGED_PREFIX: Final = "setpriv --bounding-set=-dac_override,-dac_read_search "
CONNECTIONS: Final = 2
PAUSE: Final = 0.05
RECOVERY_TIMEOUT: Final = 240
FINAL_STATUSES: Final = ("succeeded", "failed", "cancelled")
CLOCK: Final = Path(__file__).with_name("clock.c")


class Response(NamedTuple):
    """A status, and the body where it is JSON."""

    status: int
    body: Any


class Outcome(NamedTuple):
    """The result of one fault."""

    answered: int
    refused: int
    cut: int
    wrong: int
    seconds: float
    lost: int


class Scene:
    """Three distinct versions, version 3 live, one finished job and one that runs."""

    def __init__(self, folder: Path, program: str = "", workers: int = 2) -> None:
        folder.mkdir()
        self.folder, self.state, self.workers = folder, folder / "var", workers
        self.program = folder / "mynet"
        self.port = running.free_port()
        self.reference = self._prepare(program)
        self.service: Service = None  # type: ignore[assignment]
        self.jobs: dict[str, str] = {}
        self.versions: dict[int, str] = {}
        self.responses: list[Response] = []
        self.extra_check: Callable[[], bool] = always
        self._stack = ExitStack()

    def _prepare(self, program: str) -> ReferenceAnswers:
        self.state.mkdir()
        if is_root():
            mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", self.state]
            subprocess.run(mount, check=True)
        reference = make(self.state)
        clock = ""
        if has_compiler():
            library = self.program.with_suffix(".so")
            subprocess.run(["cc", "-shared", "-fPIC", "-o", library, CLOCK, "-ldl"], check=True)
            clock = f"env LD_PRELOAD={library} MYCLOCK=$0.clock "
        prefix = UNPRIVILEGED_PREFIX if is_root() else ""  # root may write to what is read-only
        executable = program or str(running.MYNET)
        self.program.write_text(f'#!/bin/sh\nexec {prefix}{clock}{executable} "$@"\n')
        self.program.chmod(0o755)
        self.clock(0)
        return reference

    def clock(self, seconds: int) -> None:
        """Move the time of day for the service alone."""
        clock = self.program.with_suffix(".clock")
        clock.with_suffix(".new").write_text(str(seconds))
        clock.with_suffix(".new").replace(clock)

    def start(self) -> None:
        """Start the service, as its process manager would."""
        self._stack.close()
        mynet, running.MYNET = running.MYNET, self.program
        try:
            context = run_service(self.state, port=str(self.port), workers=str(self.workers))
            self.service = self._stack.enter_context(context)
        finally:
            running.MYNET = mynet

    def begin(self) -> None:
        """Start, with version 3 live after 2 after 1, and an ended job."""
        self.start()
        for version in (2, 3):
            self.ask("PUT", "/models/current", b'{"version": %d}' % version)
        quick = self.train(epochs=1, batch_size=60_000)
        self.service.job_until(quick, lambda job: job["status"] == "succeeded")

    def close(self) -> None:
        self._stack.close()
        if is_root():
            time.sleep(1)
            subprocess.run(["umount", "--lazy", self.state], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, method: str, path: str, body: bytes = b"") -> Response:
        """Send a request; the status is 0 if no answer came."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            response = Response(answer.status, json.loads(answer.read() or b"null"))
        except (OSError, HTTPException):
            response = Response(0, None)
        finally:
            connection.close()
        self.responses.append(response)
        return response

    def train(self, **hyperparameters: Any) -> str | None:
        """Queue a job."""
        body = json.dumps({"promote": "never", "seed": 1, **hyperparameters}).encode()
        response = self.ask("POST", "/train", body)
        return response.body["id"] if response.status == 202 else None

    def is_healthy(self) -> bool:
        """Return whether it answers, and takes jobs, and one runs."""
        if self.ask("GET", "/health/ready").status != 200:
            return False
        job_list = self.ask("GET", "/train?limit=1000")
        if job_list.status != 200:
            return False
        if not any(job["status"] == "running" for job in job_list.body["data"]):
            if not any(job["status"] == "queued" for job in job_list.body["data"]):
                self.train(epochs=1000)
            return False
        return self.extra_check() and not self.lost()

    def remember(self) -> None:
        """Record the jobs and versions that must not be lost from here on."""
        job_list, versions = self.ask("GET", "/train?limit=1000"), self.ask("GET", "/models")
        self.jobs |= {
            job["id"]: job["status"]
            for job in job_list.body["data"]
            if job["status"] in FINAL_STATUSES
        }
        self.versions |= {card["version"]: card["weights_digest"] for card in versions.body["data"]}

    def lost(self) -> int:
        """Count the ended jobs and the versions that are not as they were."""
        job_list, versions = self.ask("GET", "/train?limit=1000"), self.ask("GET", "/models")
        if job_list.status != 200 or versions.status != 200:
            return len(self.jobs) + len(self.versions)
        jobs = {job["id"]: job["status"] for job in job_list.body["data"]}
        cards = {card["version"]: card["weights_digest"] for card in versions.body["data"]}
        return len(self.jobs.items() - jobs.items()) + len(self.versions.items() - cards.items())

    def wait(self) -> float:
        """Wait until the service is healthy, and return the seconds."""
        started = time.monotonic()
        while not self.is_healthy():
            if time.monotonic() > started + RECOVERY_TIMEOUT:
                return float("inf")
            time.sleep(0.1)
        return time.monotonic() - started

    def inject_fault(self, fault: Callable[["Scene"], int]) -> Outcome:
        """Inject the fault under load, and return its result."""
        self.wait()
        self.remember()
        self.responses.clear()
        self.extra_check = always
        with under_load(self) as exchanges:
            wrong = fault(self)
            seconds = self.wait()
            time.sleep(1)
        versioned = [exchange for exchange in exchanges if self.has_known_version(exchange)]
        wrong += count_mismatches(versioned, self.reference) + sum(
            exchange.reply.status == 200 and not self.has_known_version(exchange)
            for exchange in exchanges
        )
        all_responses = [
            Response(exchange.reply.status, body_of(exchange)) for exchange in exchanges
        ] + self.responses
        wrong += sum(
            response.status >= 500 and not has_reason(response) for response in all_responses
        )
        return Outcome(
            answered=sum(exchange.reply.status == 200 for exchange in exchanges),
            refused=sum(
                response.status >= 400 and has_reason(response) for response in all_responses
            ),
            cut=sum(response.status == 0 for response in all_responses),
            wrong=wrong,
            seconds=seconds,
            lost=self.lost(),
        )

    def has_known_version(self, exchange: Exchange) -> bool:
        return bool(exchange.answer) and exchange.answer["version"] in self.reference.probabilities


def always() -> bool:
    return True


def has_reason(response: Response) -> bool:
    """Return whether a refusal names its reason."""
    return (
        bool(response.body)
        and bool(response.body.get("detail"))
        and response.body["code"] != "internal_error"
    )


def body_of(exchange: Exchange) -> Any:
    with suppress(ValueError):
        return json.loads(exchange.reply.body)
    return None


@contextmanager
def under_load(scene: Scene) -> Iterator[list[Exchange]]:
    """Send load from a thread while the context lasts; the list has the exchanges afterwards."""
    ended = threading.Event()
    exchanges: list[Exchange] = []

    def due() -> Iterator[float]:
        while not ended.is_set():
            yield time.monotonic() + PAUSE

    def press() -> None:
        exchanges.extend(run(load(scene.port, scene.reference.uploads, due(), CONNECTIONS)))

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield exchanges
    finally:
        ended.set()
        thread.join()


def is_root() -> bool:
    return os.geteuid() == 0


def has_compiler() -> bool:
    """Return whether what moves the clock can be built: see `clock.c`."""
    return sys.platform == "linux" and shutil.which("cc") is not None
