"""What the server tests share: an app without jobs, and the connections of a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from app.main import create_app
from app.server.protocol import Protocol
from app.train.supervisor.supervisor import Supervisor
from tests.conftest import settings_in
from tests.served import serve_app


@pytest.fixture
def connections(monkeypatch):
    """The protocol object of each connection."""
    protocols, original = [], Protocol.connection_made

    def record_connection(connection, transport):
        original(connection, transport)
        protocols.append(connection)

    monkeypatch.setattr(Protocol, "connection_made", record_connection)
    return protocols


@contextmanager
def serve_idle(folder: Path) -> Iterator[httpx2.Client]:
    """Yield a client of an app whose jobs stay queued."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Supervisor, "_schedule", lambda _: None)
        with serve_app(create_app(settings_in(folder))) as client:
            yield client
