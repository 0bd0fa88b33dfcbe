"""Shared fixtures of the server tests."""

import pytest

from app.server.protocol import Protocol


@pytest.fixture
def connections(monkeypatch):
    """The protocol object of each connection."""
    protocols, original = [], Protocol.connection_made

    def record_connection(connection, transport):
        original(connection, transport)
        protocols.append(connection)

    monkeypatch.setattr(Protocol, "connection_made", record_connection)
    return protocols
