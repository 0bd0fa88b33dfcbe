"""The requests of a history, drawn by a seed."""

import json
import random
from typing import Final, NamedTuple

from tests.rigs.histories.model import State

CLIENTS: Final = range(4, 7)
REQUESTS: Final = range(5, 8)  # of each client
MAX_PAUSE: Final = 0.02  # seconds before each request
# A change costs a hundred times as much as a prediction: all processes load the version.
WEIGHTS: Final = {
    "predict": 56, "list": 12, "get version": 5, "predict with version": 13, "promote": 8,
    "roll back": 4, "delete": 2,
}  # fmt: skip
# An upload takes a second of a core. So few histories have one, and few delete many versions.
MIN_VERSIONS, MAX_VERSIONS = 4, 8
UPLOADING, DELETING = 0.04, 0.08


class Request(NamedTuple):
    """A request, the number of the service that it goes to, and the seconds to wait before it."""

    name: str
    service: int = 0
    version: int = 0
    pause: float = 0.0

    def message(self, image: bytes, weights: bytes) -> tuple[str, str, bytes]:
        """Return the method, the path and the body."""
        return {
            "predict": ("POST", "/predict", image),
            "predict with version": ("POST", f"/predict?version={self.version}", image),
            "list": ("GET", "/models", b""),
            "get version": ("GET", f"/models/{self.version}", b""),
            "promote": ("PUT", "/models/current", json.dumps({"version": self.version}).encode()),
            "roll back": ("POST", "/models/rollback", b""),
            "delete": ("DELETE", f"/models/{self.version}", b""),
            "upload": ("POST", "/models", weights),
        }[self.name]


def draw(state: State, rng: random.Random, services: int) -> list[list[Request]]:
    """Draw the requests of each client, for a history that begins in this state."""
    count, live = len(state.versions), state.history[0]
    # A history is about few versions, so that its requests meet. Some of them do not exist.
    drawn = rng.sample(sorted(state.versions), min(3, count))
    targets = [*drawn, *drawn, live, state.last + 1, rng.randint(1, state.last)]
    deletable = targets if rng.random() < DELETING else [live, live, state.last + 1]

    def request(name: str) -> Request:
        version = rng.choice(deletable if name == "delete" else targets)
        return Request(name, rng.randrange(services), version, rng.uniform(0, MAX_PAUSE))

    clients = [
        [request(name) for name in rng.choices([*WEIGHTS], [*WEIGHTS.values()], k=requests)]
        for requests in rng.choices(REQUESTS, k=rng.choice(CLIENTS))
    ]
    if count <= MIN_VERSIONS or (count < MAX_VERSIONS and rng.random() < UPLOADING):
        # To all services at once, since each of them gives numbers.
        for service, client in enumerate(clients[:services]):
            client.insert(0, Request("upload", service))
    return clients
