"""Shared fixtures of the API tests."""

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from tests.conftest import settings_in
from tests.postgres import ALL_DATABASES


@pytest.fixture(scope="module", params=ALL_DATABASES)
def rejecting_client(request, tmp_path_factory):
    """The same app for all that it refuses, so that nothing is kept in it."""
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres").fresh()
    app = create_app(settings_in(tmp_path_factory.mktemp("refusing"), url))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
        assert client.get("/train").json()["data"] == []
