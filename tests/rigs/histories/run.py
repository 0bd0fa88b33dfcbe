"""Histories of running services, one after another: drawn by a seed, recorded and explained."""

import asyncio
import random
import time
from collections import Counter
from typing import Final

from app.mnist import dataset as mnist
from app.versions.registry import SHIPPED
from tests.conftest import DATA, png
from tests.rigs.histories.answers import read_exchange
from tests.rigs.histories.clients import run_clients
from tests.rigs.histories.deployment import Deployment
from tests.rigs.histories.model import STALENESS, State
from tests.rigs.histories.requests import draw
from tests.rigs.histories.timeline import Timeline, Verdict

# Seconds: after them, a request to the bucket whose answer was lost has no effect any more.
UNKNOWN_TIMEOUT: Final = 20.0


class Histories:
    """The histories of a deployment by a seed. `counts` has the answers by request and status."""

    def __init__(self, deployment: Deployment, seed: int, staleness: float = STALENESS) -> None:
        self.deployment, self.seed = deployment, seed
        self.image = png(mnist.load(DATA).test.pixels[0])
        self.weights = (SHIPPED / "documented.safetensors").read_bytes()
        self.timeline, self.counts = Timeline(staleness), Counter[str]()
        self._number = 0
        self._settled = deployment.read_settled()

    def check_next(self) -> Verdict:
        """Run the next history, and explain it. Raises UnexpectedAnswer."""
        self._number += 1
        initial, ports = self._settled.answer, self.deployment.ports
        assert isinstance(initial, State)
        clients = draw(initial, random.Random(f"{self.seed}-{self._number}"), len(ports))
        exchanges = asyncio.run(run_clients(clients, ports, self.image, self.weights))
        self.counts.update(f"{e.request.name}: {e.reply.status}" for e in exchanges)
        uploads = sum(exchange.request.name == "upload" for exchange in exchanges)
        candidates = initial.versions.union(initial.last + 1 + i for i in range(uploads))
        operations = [op for exchange in exchanges for op in read_exchange(exchange, candidates)]
        if any(operation.is_optional for operation in operations):
            time.sleep(UNKNOWN_TIMEOUT)
        self._settled = self.deployment.read_settled()
        return self.timeline.check(initial, operations, self._settled)
