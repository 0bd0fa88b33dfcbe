"""Jobs over HTTP. Where no process is needed, none is started."""

import time

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.train.jobs.job import Status
from app.train.supervisor import supervisor


@pytest.fixture
def idle(settings, monkeypatch):
    """The app with a supervisor that starts nothing, so that jobs stay queued."""
    monkeypatch.setattr(supervisor.Supervisor, "_schedule", lambda _: None)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def trainer(settings, small_data_dir):
    """The app, with data that an epoch takes a moment to learn from."""
    small = settings.model_copy(update={"data_dir": small_data_dir})
    with TestClient(create_app(small), raise_server_exceptions=False) as client:
        yield client


def wait(client, job, seconds=600):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        body = client.get(f"/train/{job}").json()
        if Status(body["status"]).is_final:
            return body
        time.sleep(0.1)
    raise AssertionError(f"the job did not end: {body}")


def test_the_empty_body_is_the_documented_loop(idle):
    answer = idle.post("/train")
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/train/{job['id']}"
    seed = job["hyperparameters"].pop("seed")
    assert isinstance(seed, int)
    assert job["hyperparameters"] == {
        "recipe": "documented",
        "epochs": 10,
        "batch_size": 100,
        "learning_rate": 0.01,
        "momentum": 0.9,
        "promote": "if_better",
        "device": None,
        "include_feedback": False,
        "init": None,
        "keep_checkpoints": False,
        "validation_fraction": 0.0,
        "early_stopping": None,
        "max_seconds": None,
        "datasets": ["mnist"],
        "test_dataset": "mnist-test",
        "note": None,
    }
    assert (job["status"], job["attempt"], job["epochs"]) == ("queued", 0, [])
    assert job["progress"] is job["result"] is job["error"] is job["started_at"] is None
    assert idle.get(answer.headers["location"]).json()["id"] == job["id"]


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain"])
def test_the_content_type_does_not_matter(idle, content_type):
    headers = {"content-type": content_type} if content_type else {}
    answer = idle.post("/train", content=b'{"epochs": 2}', headers=headers)
    assert answer.json()["hyperparameters"]["epochs"] == 2


@pytest.mark.read_only
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"epochs": 0}', "epochs"),
        ('{"epochs": 1001}', "epochs"),
        ('{"epochs": "ten"}', "epochs"),
        ('{"epochs": 2.5}', "epochs"),
        ('{"batch_size": 60001}', "batch_size"),
        ('{"learning_rate": 0}', "learning_rate"),
        ('{"learning_rate": 1e-46}', "learning_rate"),
        ('{"momentum": 1e-46}', "momentum"),
        ('{"momentum": 0.99999999}', "momentum"),
        ('{"learning_rate": NaN}', "learning_rate"),
        ('{"learning_rate": 1e39}', "learning_rate"),
        ('{"momentum": 1}', "momentum"),
        ('{"momentum": -0.1}', "momentum"),
        ('{"seed": -1}', "seed"),
        ('{"promote": "sometimes"}', "promote"),
        ('{"recipe": "unknown"}', "recipe"),
        ('{"device": "gpu"}', "device"),
        ('{"lr": 0.1}', "lr"),
        ('{"validation_fraction": 0.5}', "validation_fraction"),
        ('{"max_seconds": 0}', "max_seconds"),
        ('{"early_stopping": {"patience": 3}}', "early_stopping"),
        (
            '{"validation_fraction": 0.1, "early_stopping": {"patience": 0}}',
            "early_stopping.patience",
        ),
        ('{"init": {}}', "init"),
        ('{"init": {"version": 1, "job": "a", "epoch": 0}}', "init"),
        ('{"init": {"job": "a"}}', "init"),
        ('{"init": {"version": 0}}', "init.version"),
        ('{"init": {"version": 99}}', "init"),
        ('{"init": {"job": "0123456789abcdef", "epoch": 0}}', "init"),
        ('{"init": {"job": "../models", "epoch": 1}}', "init"),
    ],
)
def test_every_bad_field_is_named(client, body, field):
    answer = client.post("/train", content=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert client.get("/train").json()["data"] == []


@pytest.mark.read_only
def test_a_body_full_of_unknown_fields_gets_a_small_answer(client):
    many = {f"field{number}": 1 for number in range(3000)}
    answer = client.post("/train", json=many)
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 10)
    named = client.post("/train", json={"x" * 50_000: 1})
    assert (named.status_code, len(named.content) < 1000) == (422, True)
    large = client.post("/train", json={"note": "x" * 70_000})
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")


@pytest.mark.read_only
@pytest.mark.parametrize("body", ["{", "[]", "7", '"epochs"', "\x00"])
def test_what_is_no_json_object_is_malformed(client, body):
    answer = client.post("/train", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


def test_an_idempotency_key_makes_a_retry_the_same_job(idle):
    first, again = (
        idle.post("/train", headers={"Idempotency-Key": "k"}, json={"epochs": 2}).json()
        for _ in range(2)
    )
    assert first["id"] == again["id"]
    other = idle.post("/train", headers={"Idempotency-Key": "k"}, json={"epochs": 3})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")


def test_jobs_are_listed_newest_first_in_pages(idle):
    ids = [idle.post("/train").json()["id"] for _ in range(5)]
    first = idle.get("/train?limit=3").json()
    assert ([job["id"] for job in first["data"]], first["has_more"]) == (ids[:1:-1], True)
    rest = idle.get(f"/train?limit=3&after={ids[2]}").json()
    assert ([job["id"] for job in rest["data"]], rest["has_more"]) == (ids[1::-1], False)
    assert idle.get("/train?status=running").json() == {"data": [], "has_more": False}
    assert idle.get("/train?status=lost").status_code == 422
    assert idle.get("/train?after=missing").status_code == 404


def test_a_queued_job_is_cancelled_once(idle):
    job = idle.post("/train").json()["id"]
    answer = idle.post(f"/train/{job}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert answer.json()["finished_at"]
    again = idle.post(f"/train/{job}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert idle.get(f"/train/{job}/log?follow=true").text == ""


def test_a_queued_job_is_neither_paused_nor_resumed(idle):
    job = idle.post("/train").json()["id"]
    for action in ("pause", "resume"):
        answer = idle.post(f"/train/{job}/{action}")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert f"The job is queued and cannot be {action}d. Only a" in answer.json()["detail"]


def test_a_full_queue_is_a_429_with_a_time(idle, settings):
    for _ in range(settings.train_queue):
        assert idle.post("/train").status_code == 202
    answer = idle.post("/train")
    assert (answer.status_code, answer.json()["code"]) == (429, "busy")
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.read_only
@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
def test_a_wish_for_an_unknown_job_is_a_404(client, action):
    assert client.post(f"/train/x/{action}").json()["code"] == "not_found"


@pytest.mark.read_only
@pytest.mark.parametrize("path", ["/train/x", "/train/x/log", "/train/x/log?follow=true"])
def test_an_unknown_job_is_a_404(client, path):
    assert client.get(path).json()["code"] == "not_found"


def test_a_job_trains_goes_live_and_is_answered_for_all_the_while(trainer, seven):
    hyperparameters = {"epochs": 4, "batch_size": 10, "seed": 3, "promote": "always"}
    job = trainer.post("/train", json=hyperparameters).json()["id"]
    versions = set()
    while trainer.get(f"/train/{job}").json()["status"] in ("queued", "running"):
        answer = trainer.post("/predict", content=seven)
        assert answer.status_code == 200
        assert answer.json()["digit"] == 7
        versions.add(answer.json()["version"])
        time.sleep(0.2)  # else the cores are busy with this, and the training waits
    done = wait(trainer, job)
    assert done["status"] == "succeeded", done
    assert done["result"]["version"] == 2
    assert 0.7 < done["result"]["test_accuracy"] < 0.94
    assert done["progress"]["fraction"] == 1.0
    assert 1 in versions
    deadline = time.monotonic() + 120
    while trainer.post("/predict", content=seven).json()["version"] != 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    log = trainer.get(f"/train/{job}/log")
    assert log.headers["content-type"] == "text/plain; charset=utf-8"
    lines = log.text.splitlines()
    assert len(lines) == 8
    assert lines[0].startswith("==>>> epoch: 0, batch index: 100, train loss: ")
    assert trainer.get(f"/train/{job}/log?follow=true").text == log.text
    card = trainer.get("/models/2").json()
    assert (card["job"], card["parent"], card["origin"]) == (job, 1, "trained")


def test_a_final_job_is_deleted_with_its_events_and_its_log(idle):
    job = idle.post("/train").json()["id"]
    refused = idle.delete(f"/train/{job}")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "The job is queued and cannot be deleted" in refused.json()["detail"]
    idle.post(f"/train/{job}/cancel")
    assert idle.delete(f"/train/{job}").status_code == 204
    for path in ("", "/events", "/log", "/log?follow=true"):
        assert idle.get(f"/train/{job}{path}").status_code == 404
    assert idle.delete(f"/train/{job}").json()["code"] == "not_found"
