"""Requests for the host names of other sites, which may point at a loopback address."""

import pytest
from starlette.testclient import TestClient

from app.auth.allowed_hosts import AllowedHosts
from app.main import create_app

OWN = ["localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8000"]
FOREIGN = [
    *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example"),
    *("evil.example:localhost", "localhost:8000:80", "user@localhost", "::1", "[::1", "[::1]x"),
    *("", ":8000", "192.0.2.7", "localhost\xa0", "127.0.0.1\xa0:80"),
]


@pytest.fixture
def closed(settings):
    """Settings with no further host name."""
    return settings.model_copy(update={"allowed_hosts": None})


@pytest.mark.parametrize("host", OWN)
def test_allows_name_of_this_machine_returns_true(closed, host):
    assert AllowedHosts(closed).allows(host.encode())


@pytest.mark.parametrize("host", FOREIGN)
def test_allows_other_name_returns_false(closed, host):
    assert not AllowedHosts(closed).allows(host.encode("latin-1"))


def test_allows_names_of_the_setting_on_any_port(closed):
    settings = closed.model_copy(update={"allowed_hosts": "Mynet.example, [2001:db8::1]"})
    allowed = AllowedHosts(settings)
    for host in (b"mynet.example", b"MYNET.example:443", b"[2001:db8::1]:8000", b"localhost"):
        assert allowed.allows(host)
    for host in (b"example", b"a.mynet.example", b"[2001:db8::2]"):
        assert not allowed.allows(host)


@pytest.mark.parametrize(
    "changes",
    [
        {"allowed_hosts": "*"},
        {"host": "0.0.0.0", "auth": "none"},
        {"host": "127.0.0.1", "auth": "keys"},
        {"host": "127.0.0.1", "auth": "predict"},
    ],
)
def test_allows_any_name_unless_open_on_loopback(closed, changes):
    assert AllowedHosts(closed.model_copy(update=changes)).allows(b"evil.example")


def test_request_for_another_host_returns_421_on_every_route(closed):
    headers = {"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}
    with TestClient(create_app(closed), raise_server_exceptions=False) as client:
        for method, path in (
            *(("GET", "/"), ("GET", "/feedback"), ("GET", "/health/live"), ("GET", "/nowhere")),
            *(("POST", "/train"), ("POST", "/predict"), ("DELETE", "/models/1")),
        ):
            answer = client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (421, "misdirected"), path
            assert "'evil.example:8000'" in answer.json()["detail"]
            assert "MYNET_ALLOWED_HOSTS" in answer.json()["detail"]
            assert answer.headers["x-request-id"] == answer.json()["request_id"]
        answer = client.get("/v2", headers=headers)
        assert (answer.status_code, [*answer.json()]) == (421, ["error"])
        assert client.get("/train", headers={"Host": "localhost:8000"}).json()["data"] == []
