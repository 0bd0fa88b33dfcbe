"""Shared fixtures of the tests of training over HTTP."""

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.train.supervisor import supervisor


@pytest.fixture
def idle(settings, monkeypatch):
    """The app with a supervisor that starts and deletes nothing, so that jobs stay queued."""
    for step in ("_schedule", "_clean_up"):
        monkeypatch.setattr(supervisor.Supervisor, step, lambda _: None)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client
