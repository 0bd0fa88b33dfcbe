"""A line for every change that was asked for, and for nothing else."""

import json
import logging

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from app.auth.keys import KeyStore, Scope
from app.database.database import Database
from app.database.jobs import JobStore
from app.main import create_app
from app.telemetry import logs
from tests.served import serve_app

ADMIN_KEY = "the-first-key-of-all"
CURRENT = {"content": b'{"version": 1}'}


@pytest.fixture
def trainer(settings):
    """A key, with its row."""
    store = JobStore(Database(settings.effective_database_url))
    key_and_secret = KeyStore(store.database).create("ci", [Scope.TRAIN])
    store.database.close()
    return key_and_secret


@pytest.fixture
def start(settings):
    clients, root = [], logging.getLogger()
    before = root.handlers[:], root.level

    def start(auth):
        first = {"admin_key": SecretStr(ADMIN_KEY), "log_level": "error"}
        changed = settings.model_copy(update={"auth": auth, **first})
        app = create_app(changed)
        client = TestClient(app, raise_server_exceptions=False, client=("192.0.2.7", 5))
        clients.append(client.__enter__())
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)
    root.handlers[:], root.level = before
    logging.captureWarnings(False)


@pytest.fixture
def lines():
    """The messages of the audit log."""
    messages = []

    class RecordingHandler(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    log, handler = logging.getLogger(logs.AUDIT_LOGGER), RecordingHandler()
    log.addHandler(handler)
    yield lambda: messages
    log.removeHandler(handler)


def test_changes_are_told_with_who_and_from_where(start, trainer, lines):
    client, (key, whole) = start("keys"), trainer
    client.put("/models/current", headers={"X-API-Key": ADMIN_KEY}, **CURRENT)
    client.put("/models/current", headers={"X-API-Key": whole}, **CURRENT)
    client.put("/models/current", **CURRENT)
    client.post("/train/x/cancel", headers={"X-API-Key": whole})
    assert lines() == [
        "PUT /models/current 200 by key admin (MYNET_ADMIN_KEY) from 192.0.2.7",
        f"PUT /models/current 403 by key {key.id} (ci) from 192.0.2.7",
        "PUT /models/current 401 by anonymous from 192.0.2.7",
        f"POST /train/x/cancel 404 by key {key.id} (ci) from 192.0.2.7",
    ]


def test_where_all_is_open_changes_are_told_too(start, lines):
    client = start("none")
    client.delete("/models/1", headers={"X-API-Key": ADMIN_KEY})
    assert lines() == ["DELETE /models/1 409 by anonymous from 192.0.2.7"]


@pytest.mark.parametrize("auth", ["none", "predict", "keys"])
def test_what_changes_nothing_is_not_told(start, lines, seven, auth):
    client = start(auth)
    for headers in ({}, {"X-API-Key": ADMIN_KEY}):
        client.get("/models", headers=headers)
        client.post("/predict", content=seven, headers=headers)
        client.post("/v2/models/mynet/infer", content=b"{}", headers=headers)
        client.post("/nowhere", headers=headers)
    assert lines() == []


def test_no_path_forges_a_line(start, lines):
    client = start("keys")
    client.post("/train/x%20202%20by%20key%20admin%0A/cancel")
    (line,) = lines()
    assert line.split(" ")[2:] == ["401", "by", "anonymous", "from", "192.0.2.7"]


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("192.0.2.9", "192.0.2.9"),
        ("[2001:db8::9]:443", "2001:db8::9"),
        ("2001:DB8:0::9", "2001:db8::9"),
        ("x, 192.0.2.9", "192.0.2.9"),
        ("1.1.1.1 | 2026-11-28T00:00:00.000Z INFO x app.audit: DELETE /models/1", "127.0.0.1"),
        ("fe80::1% | DELETE /models/1 204 by key admin", "fe80::1"),
        ("192.0.2.9, unknown", "127.0.0.1"),
        ("a\t\x80b", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_write_audit_takes_only_an_address_from_a_proxy(settings, lines, forwarded, address):
    with serve_app(create_app(settings)) as client:
        client.delete("/models/1", headers={"X-Forwarded-For": forwarded.encode("latin-1")})
    assert lines() == [f"DELETE /models/1 409 by anonymous from {address}"]


def test_a_defect_is_told_as_one(start, lines, monkeypatch):
    monkeypatch.setattr("app.train.jobs.job.cancel", lambda *_: 1 / 0)
    start("none").post("/train/x/cancel")
    assert lines() == ["POST /train/x/cancel 500 by anonymous from 192.0.2.7"]


def test_as_json_a_line_has_fields(start, capsys):
    client = start("none")
    logs.configure("info", "json")
    capsys.readouterr()
    client.post("/models/rollback", headers={"X-Request-ID": "mine"})
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = (record for record in records if record["logger"] == "app.audit")
    fields = ("request_id", "who", "method", "path", "status", "from")
    assert [line[field] for field in fields] == [
        "mine", "anonymous", "POST", "/models/rollback", 409, "192.0.2.7"
    ]  # fmt: skip
