"""Invariants of a service in the soak test, after any request and any kill.

A check raises AssertionError with what is wrong. The checks remember what the service has shown, to
find what it takes back.
"""

import json
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, NamedTuple

from app.atomic_files import TEMPORARY
from app.predict.live_model import LiveModel
from app.versions import checkpoint
from app.versions.registry import Registry
from tests.rigs.kills.job_monitor import FINAL_STATUSES, Witness
from tests.rigs.load.memory import resident
from tests.rigs.swaps.distinct_versions import TOLERANCE
from tests.service.running import Service, wait_until

PAGE: Final = 1000
OVERLAP_EVENTS: Final = 5
TIMEOUT: Final = 180  # others may load the machine, too
NO_HEADERS: Final[Mapping[str, str]] = {}
JSON_HEADERS: Final = {"Accept": "application/json"}
# Of a worker: it has 130 when it is ready, and had 201 at most in 97 minutes of two runs.
MAX_MEMORY_MB: Final = 220.0
MAX_DESCRIPTORS: Final = 100


class Response(NamedTuple):
    """An answer of the service."""

    status: int
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


def ask(
    service: Service,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] = NO_HEADERS,
) -> Response:
    """Send a request over a new connection; no answer may be a defect (500).

    Without an `Authorization`, it has the key of the service, if there is one.
    """
    with closing(HTTPConnection("127.0.0.1", service.port, timeout=TIMEOUT)) as connection:
        connection.request(method, path, body, {**service.access_headers, **headers})
        answer = connection.getresponse()
        response = Response(answer.status, answer.read())
    assert response.status != 500, f"{method} {path}: {response.content!r}"
    return response


class Invariants:
    """The invariants: what the service has shown so far, against what is on disk now."""

    def __init__(self, state: Path, pixels: Sequence[Any]) -> None:
        self.state, self.pixels = state, pixels
        self.registry = Registry(state / "models")
        self.live = LiveModel(self.registry, "cpu")
        self.witness = Witness(state)
        self.answers: dict[int, list[list[float]]] = {}
        self.removed: set[int] = set()
        self.observed_versions: set[int] = set()
        self.stored_versions: list[int] = []
        self.finished: dict[str, Any] = {}
        self.events: dict[str, list[Any]] = {}

    def check_prediction(self, image: int, version: int, probabilities: Sequence[float]) -> None:
        """An answer is that of the version that it names."""
        if version not in self.answers:
            self.check_versions()
        expected = self.answers[version][image]
        deviation = max(abs(a - b) for a, b in zip(expected, probabilities, strict=True))
        assert deviation <= TOLERANCE, (
            f"version {version} answers otherwise for image {image}: {deviation}"
        )

    def check_versions(self) -> None:
        """No number is given twice, no version is lost, and what is live is whole."""
        with self.registry.lock:
            stored, current = set(self.registry.versions()), self.registry.current()
        new = stored - self.observed_versions
        assert min(new, default=10**9) > max(self.observed_versions, default=0), (
            f"{new} after {self.observed_versions}"
        )
        assert not (self.observed_versions - self.removed) - stored, (
            f"lost: {self.observed_versions - self.removed - stored}"
        )
        assert current in stored, f"CURRENT names {current}, there are {stored}"
        for version in new | {current}:
            weights, card = self.registry.weights(version), self.registry.card(version)
            assert checkpoint.digest(weights) == card.weights_digest, f"version {version}"
        for version in new:
            model = self.live.get(version)
            self.answers[version] = [
                model.answer(pixels[None])[0].probabilities for pixels in self.pixels
            ]
        self.observed_versions |= stored
        self.stored_versions = sorted(stored)

    def check_job(self, service: Service, job: str) -> dict[str, Any]:
        """Check that what a job has shown stays, and that its end is final."""
        body = self.witness.observe(service, job)
        body.pop("deliveries")  # messages are sent after the end
        assert self.witness.changed_logs == 0, f"job {job}: its log was taken back"
        self._check_events(service, job)
        if (final_body := self.finished.get(job)) is not None:
            assert body == final_body, f"job {job} changed after its end: {final_body}, {body}"
        if body["status"] in FINAL_STATUSES:
            self.finished[job] = body
            result = body["result"]
            assert (body["status"] == "succeeded") == (result is not None), body
            assert body["status"] != "failed", body
            if result is not None:
                self.check_versions()
                assert result["version"] in self.observed_versions, body
        return body

    def check_database(self) -> None:
        with closing(sqlite3.connect(self.state / "mynet.db", timeout=30)) as database:
            (result,) = database.execute("PRAGMA integrity_check").fetchone()
        assert result == "ok", result

    def check_processes(self, service: Service) -> None:
        """Memory and descriptors of the worker processes stay within bounds."""
        for pid in service.workers:
            try:
                memory = resident(pid)
                files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
            except (OSError, KeyError):  # the process has ended
                continue
            assert memory <= MAX_MEMORY_MB, f"process {pid} has {memory} MB"
            assert files <= MAX_DESCRIPTORS, f"process {pid} has {files} files open"

    def check_processes_ended(self, service: Service) -> None:
        """A service that has ended, in whatever way, leaves no process."""
        gone = wait_until(lambda: not _session_processes(service.process.pid), TIMEOUT)
        assert gone, f"still there: {_session_processes(service.process.pid)}"

    def leftover_files(self) -> list[Path]:
        """List the files that must be gone when all jobs have ended."""
        return [*self.state.rglob(f".*{TEMPORARY}"), *(self.state / "jobs").glob("*.pt")]

    def check_event_numbers(self) -> None:
        """Events are numbered over all jobs: none of them is missing."""
        numbers = sorted(event["id"] for job_events in self.events.values() for event in job_events)
        assert numbers == list(range(1, len(numbers) + 1)), "events are missing"

    def _check_events(self, service: Service, job: str) -> None:
        events = self.events.setdefault(job, [])
        overlap = events[-OVERLAP_EVENTS:]
        after_id = overlap[0]["id"] - 1 if overlap else 0
        page = f"/train/{job}/events?limit={PAGE}&after={after_id}"
        answer = ask(service, "GET", page, headers=JSON_HEADERS).json()["data"]
        assert answer[: len(overlap)] == overlap, f"job {job}: {overlap} became {answer}"
        events += answer[len(overlap) :]


def _session_processes(session_id: int) -> dict[int, str]:
    """Return the processes that a service started, and it, with their commands."""
    command = ["ps", "-o", "pid=,stat=,args=", "-s", str(session_id)]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rows = (line.split(maxsplit=2) for line in output.splitlines())
    return {int(pid): args for pid, state, args in rows if not state.startswith("Z")}
