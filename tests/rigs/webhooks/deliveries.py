"""Deliveries of webhooks while services are killed, and while the receiver is away.

Sweeps are queued at a real `mynet serve` with `MYNET_WEBHOOK_URL`, and cancelled, so that each of
their jobs stores a message. The service is killed with `kill -9` in the middle of that, and while
it delivers. In the end each message must have arrived, verified by the package `standardwebhooks`.
"""

import json
import random
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from tests.service.running import TRAINING_TIMEOUT, Service, free_port, run_service, wait_until
from tests.webhooks.receiver import SECRET, Server, receiving

FINAL: Final = "cancelled"


@dataclass
class Deliveries:
    """The messages of one run: which jobs ended, and what arrived."""

    state: Path
    random: random.Random
    port: int = field(default_factory=free_port)
    jobs: set[str] = field(default_factory=set)
    arrived: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    kills: int = 0

    @property
    def settings(self) -> dict[str, str]:
        return {
            "webhook_secret": SECRET,
            "webhook_url": f"http://127.0.0.1:{self.port}/hooks",
            "webhook_allow": "127.0.0.1",
        }

    def end_jobs(self, count: int) -> None:
        """End the jobs of a sweep at a service that is killed during them. The receiver is away."""
        with run_service(self.state, **self.settings) as service:
            body = json.dumps({"seed": [*range(count)]}).encode()
            sweep = service.post("/sweeps", body)
            self.jobs |= {job["id"] for job in sweep["jobs"]}
            thread = threading.Thread(target=self._cancel, args=[service, sweep["id"]])
            thread.start()
            time.sleep(self.random.uniform(0, 0.5))
            self._kill(service)
            thread.join()
        with run_service(self.state, **self.settings) as service:
            self._cancel(service, sweep["id"])  # the kill may have come before the request
            path = f"/sweeps/{sweep['id']}"
            assert wait_until(lambda: service.get(path)["finished_at"] is not None)
            assert {job["status"] for job in service.get(path)["jobs"]} == {FINAL}
            self._kill(service)

    def deliver(self, kills: int, up: float, seconds: float = TRAINING_TIMEOUT) -> None:
        """Deliver all that is left, while services are killed after up to `up` seconds."""
        with receiving(self.port) as receiver:
            receiver.received = self.arrived
            for _ in range(kills):
                with run_service(self.state, **self.settings) as service:
                    time.sleep(self.random.uniform(0, up))
                    self._kill(service)
            with run_service(self.state, **self.settings):
                assert receiver.wait_for(self._has_all, seconds), self.report()

    def report(self) -> str:
        ids = [message_id for message_id, _ in self.arrived]
        return (
            f"{len(self._arrived_jobs() & self.jobs)} of {len(self.jobs)} messages arrived, "
            f"{len(ids) - len({*ids})} of them again, after {self.kills} kills"
        )

    def _has_all(self, _: Server) -> bool:
        return self._arrived_jobs() >= self.jobs

    def _arrived_jobs(self) -> set[str]:
        return {message["data"]["id"] for _, message in self.arrived}

    def _cancel(self, service: Service, sweep: str) -> None:
        with suppress(OSError, HTTPException, ValueError):  # it may be killed at any time
            service.post(f"/sweeps/{sweep}/cancel")

    def _kill(self, service: Service) -> None:
        service.end(signal.SIGKILL)
        self.kills += 1
