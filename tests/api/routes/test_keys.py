"""`/keys`: keys are created, listed, rotated and revoked by admins alone."""

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from app.main import create_app
from tests.conftest import settings_in

ADMIN = {"X-API-Key": "open-sesame-open-sesame"}


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A service that needs a key, with the key of an admin."""
    settings = settings_in(tmp_path_factory.mktemp("keys"))
    key = SecretStr(ADMIN["X-API-Key"])
    settings = settings.model_copy(update={"auth": "keys", "admin_key": key})
    app = create_app(settings)
    with pytest.MonkeyPatch.context() as monkeypatch:
        # A periodic refresh could end after that of a test, with the keys of before.
        monkeypatch.setattr("app.auth.key_cache.POLL_INTERVAL", 3600.0)
        with TestClient(app, headers=ADMIN, raise_server_exceptions=False) as client:
            yield client


def refresh(client):
    client.app_state["services"].access_control.key_cache.refresh()


def status_with(client, key):
    """Return the status of a request with this key, after the cache was refreshed."""
    refresh(client)
    return client.get("/metrics", headers={"X-API-Key": key}).status_code


def test_create_key_secret_is_shown_once(closed):
    answer = closed.post("/keys", json={"name": "ci", "scopes": ["train", "predict"], "days": 9})
    key = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/keys/{key['id']}")
    assert key["scopes"] == ["predict", "train"]
    assert key["expires_at"] > key["created_at"]
    assert status_with(closed, key["key"]) == 200
    listed = closed.get("/keys")
    assert key["id"] in [each["id"] for each in listed.json()["data"]]
    assert key["key"] not in listed.text
    assert "digest" not in listed.text


def test_revoke_key_is_refused_from_then_on(closed):
    key = closed.post("/keys", json={"name": "old", "scopes": ["predict"]}).json()
    assert closed.delete(f"/keys/{key['id']}").status_code == 204
    assert status_with(closed, key["key"]) == 401
    assert closed.delete(f"/keys/{key['id']}").status_code == 409
    assert closed.delete("/keys/none").status_code == 404


def test_rotate_key_old_one_is_valid_for_the_grace_period(closed):
    old = closed.post("/keys", json={"name": "web", "scopes": ["predict"], "days": 30}).json()
    answer = closed.post(f"/keys/{old['id']}/rotate", json={"grace_seconds": 3600})
    new = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/keys/{new['id']}")
    assert (new["name"], new["scopes"]) == ("web", ["predict"])
    assert new["id"] != old["id"]
    assert status_with(closed, old["key"]) == status_with(closed, new["key"]) == 200
    listed = {key["id"]: key for key in closed.get("/keys").json()["data"]}
    assert listed[old["id"]]["expires_at"] < old["expires_at"] < new["expires_at"]
    newest = closed.post(f"/keys/{new['id']}/rotate", json={"grace_seconds": 0}).json()
    assert status_with(closed, new["key"]) == 401
    assert status_with(closed, newest["key"]) == 200
    assert closed.post(f"/keys/{new['id']}/rotate").status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a b", "scopes": ["predict"]}, "name"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["all"]}, "scopes"),
        ({"name": "a", "scopes": ["predict"], "days": 0}, "days"),
        ({"name": "a", "scopes": ["predict"], "day": 1}, "day"),
    ],
)
def test_create_key_invalid_field_is_named(closed, body, field):
    answer = closed.post("/keys", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith(field)


def test_keys_need_the_scope_admin(closed):
    key = closed.post("/keys", json={"name": "t", "scopes": ["train", "predict"]}).json()["key"]
    refresh(closed)
    assert closed.get("/keys", headers={"X-API-Key": key}).status_code == 403
    assert closed.post("/keys", json={}, headers={"X-API-Key": key}).status_code == 403


def test_open_service_does_not_change_keys(client):
    """A key that anyone could make would stay valid once the service needs keys."""
    body = {"name": "planted", "scopes": ["admin"]}
    assert client.post("/keys", json=body).json()["code"] == "conflict"
    assert client.get("/keys").json() == {"data": []}
