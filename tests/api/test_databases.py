"""Requests with text and numbers that only one of the two databases could store."""

import json

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.train.supervisor import supervisor
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES


@pytest.fixture
def idle(settings, monkeypatch):
    """The app with a supervisor that starts nothing, so that jobs stay queued."""
    monkeypatch.setattr(supervisor.Supervisor, "_schedule", lambda _: None)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("path", ["", "/events", "/log", "/cancel", "/pause", "/resume"])
def test_no_job_has_a_nul_in_its_id(rejecting_client, path):
    method = "POST" if path in ("/cancel", "/pause", "/resume") else "GET"
    answer = rejecting_client.request(method, f"/train/a%00b{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert rejecting_client.get("/train?after=%00").status_code == 404
    assert rejecting_client.post("/sweeps/a%00b/cancel").status_code == 404


@pytest.mark.parametrize("note", ["a\0b", "\0", "\ud800", "a\udfffb"])
def test_a_note_is_text(rejecting_client, note):
    answer = rejecting_client.post("/train", content=json.dumps({"note": note}))
    assert (answer.status_code, answer.json()["code"]) in (
        (422, "invalid_field"),
        (400, "malformed_request"),
    )
    assert rejecting_client.get("/train").json()["data"] == []


def test_an_idempotency_key_has_no_nul(rejecting_client):
    answer = rejecting_client.post("/train", headers={"Idempotency-Key": b"a\0b"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["errors"][0]["field"] == "idempotency-key"


def test_everything_else_comes_back_as_it_was_sent(idle):
    hyperparameters = {
        "note": '\x01 \x7f é 한 " \\ \u2028',
        "seed": 2**53 - 1,
        "learning_rate": 1e-37,
    }
    headers = {"Idempotency-Key": "'; DROP TABLE jobs; -- \xe9".encode("latin-1")}
    job = idle.post("/train", json=hyperparameters, headers=headers).json()
    assert idle.post("/train", json=hyperparameters, headers=headers).json()["id"] == job["id"]
    stored = idle.get(f"/train/{job['id']}").json()["hyperparameters"]
    assert {name: stored[name] for name in hyperparameters} == hyperparameters


@pytest.mark.parametrize("number", [2**31, 2**63 - 1])
def test_any_number_may_be_the_last_one_seen(idle, number):
    job = idle.post("/train").json()["id"]
    headers = {"Accept": "application/json"}
    answer = idle.get(f"/train/{job}/events?after={number}", headers=headers)
    assert answer.json() == {"data": [], "has_more": False}


def test_the_whole_life_over_http(idle):
    first, second = (idle.post("/train").json()["id"] for _ in range(2))
    assert idle.post(f"/train/{first}/cancel").json()["status"] == "cancelled"
    assert idle.post(f"/train/{first}/cancel").status_code == 409
    listed = idle.get("/train?limit=1").json()
    assert ([job["id"] for job in listed["data"]], listed["has_more"]) == ([second], True)
    stream = idle.get(f"/train/{first}/events").text
    assert [line for line in stream.splitlines() if line.startswith("data")] == [
        'data: {"status": "queued"}',
        'data: {"status": "cancelled"}',
    ]
    assert 'mynet_jobs{status="queued"} 1' in idle.get("/metrics").text
