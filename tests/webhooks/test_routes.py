"""Webhooks over HTTP: asked for, refused, and shown with the job."""

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.webhooks.request import EVENTS
from tests.webhooks.receiver import receiving

URL = "https://a.example/hooks?token=geheim"


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    """Jobs stay in the queue, until they are cancelled."""
    monkeypatch.setattr("app.train.supervisor.supervisor.Supervisor._schedule", lambda _: None)


def refusal(client, webhook):
    answer = client.post("/train", json={"webhook": webhook})
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid_field"
    assert client.get("/train").json()["data"] == []
    return answer.json()["errors"][0]


def test_job_shows_its_webhook_without_the_query_and_the_card_has_none(client):
    job = client.post("/train", json={"epochs": 1, "webhook": {"url": URL}}).json()
    assert job["webhook"] == {"url": "https://a.example/hooks?***", "events": [*EVENTS]}
    assert job["deliveries"] == []
    assert "webhook" not in job["hyperparameters"]
    assert "geheim" not in client.get("/train").text


def test_end_of_a_job_is_delivered_by_the_service(client):
    with receiving() as receiver:
        webhook = {"url": f"{receiver.url}?token=geheim", "events": ["cancelled"]}
        job = client.post("/train", json={"webhook": webhook}).json()["id"]
        (pending,) = client.post(f"/train/{job}/cancel").json()["deliveries"]
        assert receiver.wait_for(lambda server: server.received)
        ((message_id, message),) = receiver.received
    assert (message_id, message["data"]["id"]) == (pending["id"], job)
    assert pending["url"] == f"{receiver.url}?***"
    assert pending["event"] == "cancelled"


def test_job_shows_why_a_delivery_failed(client):
    job = client.post("/train", json={"webhook": {"url": "http://127.0.0.1:9/"}}).json()["id"]
    client.post(f"/train/{job}/cancel")
    delivery = {"last_error": None}
    while not delivery["last_error"]:
        (delivery,) = client.get(f"/train/{job}").json()["deliveries"]
    assert delivery["last_error"] == "connection refused"
    assert (delivery["state"], delivery["last_status"]) == ("pending", None)
    assert delivery["next_attempt_at"] > delivery["created_at"]


def test_webhook_without_a_secret_is_refused(settings):
    with TestClient(create_app(settings.model_copy(update={"webhook_secret": None}))) as client:
        error = refusal(client, {"url": URL})
    assert error["field"] == "webhook"
    assert "MYNET_WEBHOOK_SECRET" in error["message"]


@pytest.mark.parametrize("host", ["10.0.0.1", "[::1]", "169.254.169.254", "0x7f.2"])
def test_webhook_to_an_address_of_the_own_network_is_refused(client, host):
    error = refusal(client, {"url": f"http://{host}/"})
    assert error["field"] == "webhook.url"
    assert "MYNET_WEBHOOK_ALLOW" in error["message"]


def test_webhook_that_is_none_is_refused_without_its_secrets(client):
    error = refusal(client, {"url": "https://user:geheim@a.example/"})
    assert error["field"] == "webhook.url"
    assert "geheim" not in str(error)


def test_idempotency_key_belongs_to_the_webhook_too(client):
    def post(webhook):
        headers = {"Idempotency-Key": "k"}
        return client.post("/train", json={"webhook": webhook}, headers=headers)

    first = post({"url": URL})
    assert post({"url": URL}).json()["id"] == first.json()["id"]
    other = post({"url": "https://b.example/"})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert post(None).status_code == 409


def test_url_of_the_settings_gets_every_job_also_those_of_a_sweep(settings):
    with receiving() as receiver:
        changes = {"webhook_url": type(settings.webhook_secret)(receiver.url)}
        with TestClient(create_app(settings.model_copy(update=changes))) as client:
            job = client.post("/train").json()
            assert job["webhook"] is None
            client.post(f"/train/{job['id']}/cancel")
            sweep = client.post("/sweeps", json={"seed": [1, 2]}).json()
            client.post(f"/sweeps/{sweep['id']}/cancel")
            assert receiver.wait_for(lambda server: len(server.received) == 3)
    ids = {message["data"]["id"] for _, message in receiver.received}
    assert ids == {job["id"], *(entry["id"] for entry in sweep["jobs"])}
