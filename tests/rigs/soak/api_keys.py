"""API keys in the soak test: created, rotated and revoked, across any kill.

A key that was created works until it is revoked, and never again after that. A worker process may
take a second to learn of a change, and longer on a busy machine. After `SETTLED` seconds, each
answer must be right.
"""

import json
import random
import time
from typing import Any, Final, NamedTuple

from tests.rigs.soak.invariants import Response, ask
from tests.service.running import Service, wait_until

ADMIN_KEY: Final = "the-key-of-the-soak-test"
MAX_KEYS: Final = 6
SETTLED: Final = 60.0
ALLOWED, REFUSED = 200, 401


class Change(NamedTuple):
    """The last change of a key: what it is answered since, and the time of `time.monotonic`."""

    status: int
    at: float


class ApiKeys:
    """The keys that the service has created, by their secrets, and what they may do."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.ids: dict[str, str] = {}
        self.changes: dict[str, Change] = {}

    def change(self, service: Service) -> None:
        """Create, rotate or revoke a key."""
        valid = [key for key, change in self.changes.items() if change.status == ALLOWED]
        if not valid or (len(valid) < MAX_KEYS and self.rng.random() < 0.5):
            body = {"name": f"soak-{len(self.ids)}", "scopes": ["predict"]}
            self._note(_created(ask(service, "POST", "/keys", json.dumps(body).encode())))
            return
        old = self.rng.choice(valid)
        path = f"/keys/{self.ids[old]}"
        if self.rng.random() < 0.5:
            self._note(_created(ask(service, "POST", f"{path}/rotate", b'{"grace_seconds": 0}')))
        else:
            response = ask(service, "DELETE", path)
            assert response.status == 204, response
        self.changes[old] = Change(REFUSED, time.monotonic())

    def check(self, service: Service, image: bytes) -> None:
        """Check that a key is answered as its last change demands."""
        if not self.changes:
            return
        key = self.rng.choice(list(self.changes))
        change = self.changes[key]
        if time.monotonic() - change.at > SETTLED:
            status = _predict(service, key, image)
            assert status == change.status, f"key {self.ids[key]}: {status}, {change}"
        else:
            answered = wait_until(lambda: _predict(service, key, image) == change.status)
            assert answered, f"key {self.ids[key]} is never answered {change.status}"

    def _note(self, created: dict[str, Any]) -> None:
        self.ids[created["key"]] = created["id"]
        self.changes[created["key"]] = Change(ALLOWED, time.monotonic())


def _created(response: Response) -> dict[str, Any]:
    assert response.status == 201, response
    created: dict[str, Any] = response.json()
    return created


def _predict(service: Service, key: str, image: bytes) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return ask(service, "POST", "/predict", image, headers).status
