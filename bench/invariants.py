"""What must hold whatever was asked of a service, and whoever of it was killed.

What enters: a state folder, and the service on it while one lives. What leaves: nothing, or an
AssertionError that says what does not hold. It remembers what was shown, so that nothing of it can
be taken back. This module does not know what was done.
"""

import json
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from app.atomic_files import TEMPORARY
from app.predict.live_model import Live
from app.versions import checkpoint
from app.versions.registry import Registry
from bench.lookalikes import TOLERANCE
from bench.memory import resident
from bench.witness import FINAL, Witness
from tests.service.running import Service, comes_true

PAGE: Final = 1000
AGAIN: Final = 5
PATIENCE: Final = 180  # others may load the machine, too
PLAIN: Final[Mapping[str, str]] = {}
PAGES: Final = {"Accept": "application/json"}
MOST_MORE_MEMORY: Final = 1.5
MOST_DESCRIPTORS: Final = 100


class Told(NamedTuple):
    """What a service answered."""

    status: int
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


def ask(
    service: Service, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = PLAIN
) -> Told:
    """Ask over a connection of its own; no answer is ever a defect."""
    with closing(HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE)) as connection:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        told = Told(answer.status, answer.read())
    assert told.status != 500, f"{method} {path}: {told.content!r}"
    return told


class Invariants:
    """What was shown so far, and what is on disk now."""

    def __init__(self, state: Path, pixels: Sequence[Any]) -> None:
        self.state, self.pixels = state, pixels
        self.registry = Registry(state / "models")
        self.live = Live(self.registry, torch.device("cpu"))
        self.witness = Witness(state)
        self.answers: dict[int, list[list[float]]] = {}
        self.removed: set[int] = set()
        self.seen: set[int] = set()
        self.there: list[int] = []
        self.ended: dict[str, Any] = {}
        self.events: dict[str, list[Any]] = {}
        self.memory = 0.0

    def fits(self, image: int, version: int, probabilities: Sequence[float]) -> None:
        """An answer is that of the version that it names."""
        if version not in self.answers:
            self.look_at_versions()
        known = self.answers[version][image]
        off = max(abs(a - b) for a, b in zip(known, probabilities, strict=True))
        assert off <= TOLERANCE, f"version {version} answers otherwise for image {image}: {off}"

    def look_at_versions(self) -> None:
        """No number is given twice, no version is lost, and what is live is whole."""
        with self.registry.lock:
            there, current = set(self.registry.versions()), self.registry.current()
        new = there - self.seen
        assert min(new, default=10**9) > max(self.seen, default=0), f"{new} after {self.seen}"
        assert not (self.seen - self.removed) - there, f"lost: {self.seen - self.removed - there}"
        assert current in there, f"CURRENT names {current}, there are {there}"
        for version in new | {current}:
            weights, card = self.registry.weights(version), self.registry.card(version)
            assert checkpoint.digest(weights) == card.weights_digest, f"version {version}"
        for version in new:
            model = self.live.get(version)
            self.answers[version] = [
                model.answer(each[None])[0].probabilities for each in self.pixels
            ]
        self.seen |= there
        self.there = sorted(there)

    def look_at_job(self, service: Service, job: str) -> dict[str, Any]:
        """What was shown of a job stays, and its end is final."""
        body = self.witness.look(service, job)
        assert self.witness.taken_back == 0, f"job {job}: its log was taken back"
        self._look_at_events(service, job)
        if (known := self.ended.get(job)) is not None:
            assert body == known, f"job {job} changed after its end: {known}, {body}"
        if body["status"] in FINAL:
            self.ended[job] = body
            result = body["result"]
            assert (body["status"] == "succeeded") == (result is not None), body
            assert body["status"] != "failed", body
            if result is not None:
                self.look_at_versions()
                assert result["version"] in self.seen, body
        return body

    def look_at_database(self) -> None:
        with closing(sqlite3.connect(self.state / "mynet.db", timeout=30)) as database:
            (found,) = database.execute("PRAGMA integrity_check").fetchone()
        assert found == "ok", found

    def look_at_processes(self, service: Service) -> None:
        """Memory and descriptors of whoever serves stay within bounds."""
        for pid in self.workers(service):
            try:
                memory = resident(pid)
                files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
            except (OSError, KeyError):  # it ended meanwhile
                continue
            self.memory = self.memory or memory
            assert memory <= MOST_MORE_MEMORY * self.memory, f"{memory} MB after {self.memory}"
            assert files <= MOST_DESCRIPTORS, f"process {pid} has {files} files open"

    def nobody_is_left(self, service: Service) -> None:
        """A service that has ended, in whatever way, leaves no process."""
        gone = comes_true(lambda: not _of_session(service.process.pid), PATIENCE)
        assert gone, f"still there: {_of_session(service.process.pid)}"

    def steps_on_the_way(self) -> list[Path]:
        """List the files that nobody needs once all jobs have ended."""
        return [*self.state.rglob(f".*{TEMPORARY}"), *(self.state / "jobs").glob("*.pt")]

    def everything_is_told(self) -> None:
        """Events are numbered over all jobs: none of them is missing."""
        numbers = sorted(each["id"] for shown in self.events.values() for each in shown)
        assert numbers == list(range(1, len(numbers) + 1)), "events are missing"

    def workers(self, service: Service) -> list[int]:
        """List the processes that serve."""
        session = _of_session(service.process.pid)
        return [pid for pid, command in session.items() if "spawn_main" in command]

    def _look_at_events(self, service: Service, job: str) -> None:
        shown = self.events.setdefault(job, [])
        again = shown[-AGAIN:]
        before = again[0]["id"] - 1 if again else 0
        page = f"/train/{job}/events?limit={PAGE}&after={before}"
        answer = ask(service, "GET", page, headers=PAGES).json()["data"]
        assert answer[: len(again)] == again, f"job {job}: {again} became {answer}"
        shown += answer[len(again) :]


def _of_session(leader: int) -> dict[int, str]:
    """Give the processes that a service started, and it, with their commands."""
    command = ["ps", "-o", "pid=,stat=,args=", "-s", str(leader)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rows = (line.split(maxsplit=2) for line in shown.splitlines())
    return {int(pid): args for pid, state, args in rows if not state.startswith("Z")}
