"""A service under light load on a small disk of its own, to which things are done.

What enters: a folder, and what is done. What leaves: every answer meanwhile, how long it took until
all was well again, and what was lost. This module does not know what is done to the service.
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

from bench.load import Exchange, load, run
from bench.lookalikes import Known, make, mistaken
from tests.service import running
from tests.service.running import Service, serving

SIZE: Final = "48m"
LIKE_OTHERS: Final = "setpriv --bounding-set=-dac_override,-dac_read_search "
CONNECTIONS: Final = 2
PAUSE: Final = 0.05
PATIENCE: Final = 90
ENDED: Final = ("succeeded", "failed", "cancelled")
CLOCK: Final = Path(__file__).with_name("clock.c")


class Told(NamedTuple):
    """A status, and the body where it is JSON."""

    status: int
    body: Any


class Outcome(NamedTuple):
    """What came of one fault."""

    answered: int
    refused: int
    cut: int
    wrong: int
    seconds: float
    lost: int


class Scene:
    """Three versions that can be told apart, version 3 live, one ended job, and one that runs."""

    def __init__(self, folder: Path, program: str = "", workers: int = 2) -> None:
        folder.mkdir()
        self.folder, self.state, self.workers = folder, folder / "var", workers
        self.program = folder / "mynet"
        self.port = running.free_port()
        self.known = self._prepare(program)
        self.service: Service = None  # type: ignore[assignment]
        self.jobs: dict[str, str] = {}
        self.versions: dict[int, str] = {}
        self.told: list[Told] = []
        self.also: Callable[[], bool] = always
        self._stack = ExitStack()

    def _prepare(self, program: str) -> Known:
        self.state.mkdir()
        if is_root():
            mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", self.state]
            subprocess.run(mount, check=True)
        known = make(self.state)
        clock = ""
        if has_compiler():
            library = self.program.with_suffix(".so")
            subprocess.run(["cc", "-shared", "-fPIC", "-o", library, CLOCK, "-ldl"], check=True)
            clock = f"env LD_PRELOAD={library} MYCLOCK=$0.clock "
        others = LIKE_OTHERS if is_root() else ""  # root may write to what is read-only
        started = program or str(running.MYNET)
        self.program.write_text(f'#!/bin/sh\nexec {others}{clock}{started} "$@"\n')
        self.program.chmod(0o755)
        self.clock(0)
        return known

    def clock(self, seconds: int) -> None:
        """Move the service's time of day, and nobody else's."""
        clock = self.program.with_suffix(".clock")
        clock.with_suffix(".new").write_text(str(seconds))
        clock.with_suffix(".new").replace(clock)

    def start(self) -> None:
        """Start the service, as whoever watches over it would."""
        self._stack.close()
        mynet, running.MYNET = running.MYNET, self.program
        try:
            started = serving(self.state, port=str(self.port), workers=str(self.workers))
            self.service = self._stack.enter_context(started)
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

    def ask(self, method: str, path: str, body: bytes = b"") -> Told:
        """Ask; status 0 where no answer came."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            told = Told(answer.status, json.loads(answer.read() or b"null"))
        except (OSError, HTTPException):
            told = Told(0, None)
        finally:
            connection.close()
        self.told.append(told)
        return told

    def train(self, **wanted: Any) -> str | None:
        """Queue a job."""
        body = json.dumps({"promote": "never", "seed": 1, **wanted}).encode()
        told = self.ask("POST", "/train", body)
        return told.body["id"] if told.status == 202 else None

    def is_well(self) -> bool:
        """Say whether it answers, and takes jobs, and one runs."""
        if self.ask("GET", "/health/ready").status != 200:
            return False
        listed = self.ask("GET", "/train?limit=1000")
        if listed.status != 200:
            return False
        if not any(job["status"] == "running" for job in listed.body["data"]):
            if not any(job["status"] == "queued" for job in listed.body["data"]):
                self.train(epochs=1000)
            return False
        return self.also() and not self.lost()

    def remember(self) -> None:
        """Take note of what must not be lost from here on."""
        listed, versions = self.ask("GET", "/train?limit=1000"), self.ask("GET", "/models")
        self.jobs |= {
            job["id"]: job["status"] for job in listed.body["data"] if job["status"] in ENDED
        }
        self.versions |= {card["version"]: card["weights_digest"] for card in versions.body["data"]}

    def lost(self) -> int:
        """Count the ended jobs and the versions that are not as they were."""
        listed, versions = self.ask("GET", "/train?limit=1000"), self.ask("GET", "/models")
        if listed.status != 200 or versions.status != 200:
            return len(self.jobs) + len(self.versions)
        jobs = {job["id"]: job["status"] for job in listed.body["data"]}
        cards = {card["version"]: card["weights_digest"] for card in versions.body["data"]}
        return len(self.jobs.items() - jobs.items()) + len(self.versions.items() - cards.items())

    def wait(self) -> float:
        """Wait until all is well, and give the seconds."""
        since = time.monotonic()
        while not self.is_well():
            if time.monotonic() > since + PATIENCE:
                return float("inf")
            time.sleep(0.1)
        return time.monotonic() - since

    def suffer(self, fault: Callable[["Scene"], int]) -> Outcome:
        """Let it happen under load. The fault gives what it found wrong."""
        self.wait()
        self.remember()
        self.told.clear()
        self.also = always
        with pressed(self) as exchanges:
            wrong = fault(self)
            seconds = self.wait()
            time.sleep(1)
        known = [each for each in exchanges if self.is_known(each)]
        wrong += mistaken(known, self.known) + sum(
            each.reply.status == 200 and not self.is_known(each) for each in exchanges
        )
        told = [Told(each.reply.status, body_of(each)) for each in exchanges] + self.told
        wrong += sum(each.status >= 500 and not says_why(each) for each in told)
        return Outcome(
            answered=sum(each.reply.status == 200 for each in exchanges),
            refused=sum(each.status >= 400 and says_why(each) for each in told),
            cut=sum(each.status == 0 for each in told),
            wrong=wrong,
            seconds=seconds,
            lost=self.lost(),
        )

    def is_known(self, exchange: Exchange) -> bool:
        return bool(exchange.answer) and exchange.answer["version"] in self.known.probabilities


def always() -> bool:
    return True


def says_why(told: Told) -> bool:
    """Say whether a refusal names its reason."""
    return (
        bool(told.body) and bool(told.body.get("detail")) and told.body["code"] != "internal_error"
    )


def body_of(exchange: Exchange) -> Any:
    with suppress(ValueError):
        return json.loads(exchange.reply.body)
    return None


@contextmanager
def pressed(scene: Scene) -> Iterator[list[Exchange]]:
    """Load in a thread, for as long as the context lasts; it is told of at the end."""
    ended = threading.Event()
    exchanges: list[Exchange] = []

    def due() -> Iterator[float]:
        while not ended.is_set():
            yield time.monotonic() + PAUSE

    def press() -> None:
        exchanges.extend(run(load(scene.port, scene.known.uploads, due(), CONNECTIONS)))

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
    """Say whether what moves the clock can be built: see `clock.c`."""
    return sys.platform == "linux" and shutil.which("cc") is not None
