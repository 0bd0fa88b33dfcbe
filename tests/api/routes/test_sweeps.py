"""Sweeps over HTTP, with a supervisor that starts nothing."""

import pytest

from tests.api.routes.test_train import idle  # noqa: F401
from tests.postgres import BOTH

DATABASES = BOTH

GRID = {"name": "both", "learning_rate": [0.01, 0.1], "seed": [1, 2], "epochs": 1}


@pytest.fixture
def asked(idle):  # noqa: F811
    return idle


def test_a_sweep_is_a_group_of_ordinary_jobs(asked):
    answer = asked.post("/sweeps", json=GRID)
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/sweeps/{body['id']}"
    assert (body["name"], body["status"], body["hyperparameters"]) == ("both", "queued", GRID)
    assert body["best"] is body["result"] is body["error"] is body["finished_at"] is None
    varied = [job["hyperparameters"] for job in body["jobs"]]
    assert varied == [
        {"learning_rate": rate, "seed": seed} for rate in (0.01, 0.1) for seed in (1, 2)
    ]
    listed = asked.get("/train").json()["data"]
    assert [job["id"] for job in listed] == [job["id"] for job in body["jobs"]][::-1]
    assert {(job["sweep"], job["hyperparameters"]["promote"]) for job in listed} == {
        (body["id"], "never")
    }
    assert asked.get(f"/train/{listed[0]['id']}").json()["sweep"] == body["id"]
    assert asked.post("/train").json()["sweep"] is None
    assert asked.get(answer.headers["location"]).json() == body


def test_one_seed_is_drawn_for_all(asked):
    body = asked.post("/sweeps", json={"epochs": [1, 2]}).json()
    seeds = {job["hyperparameters"]["seed"] for job in asked.get("/train").json()["data"]}
    assert seeds == {body["hyperparameters"]["seed"]}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"epochs": []}, "epochs"),
        ({"epochs": [1, 1]}, "epochs"),
        ({"epochs": [1, 0]}, "epochs.1"),
        ({"momentum": 1}, "momentum"),
        ({"lr": [1]}, "lr"),
        ({"seed": [*range(33)], "epochs": [1, 2]}, "epochs"),
    ],
)
def test_every_bad_field_is_named(refusing, body, field):
    answer = refusing.post("/sweeps", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert refusing.get("/train").json()["data"] == refusing.get("/sweeps").json()["data"] == []


def test_what_is_no_object_is_malformed(refusing):
    assert refusing.post("/sweeps", content="[").json()["code"] == "malformed_request"


def test_an_idempotency_key_makes_a_retry_the_same_sweep(asked):
    key = {"Idempotency-Key": "k"}
    first, again = (
        asked.post("/sweeps", headers=key, json={"epochs": [1, 2]}).json() for _ in range(2)
    )
    assert first == again
    other = asked.post("/sweeps", headers=key, json={"epochs": [1, 3]})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert len(asked.get("/train").json()["data"]) == 2


def test_in_the_queue_a_sweep_counts_as_one_and_is_refused_whole(asked, settings):
    assert asked.post("/sweeps", json=GRID).status_code == 202
    for _ in range(settings.train_queue - 1):
        assert asked.post("/train").status_code == 202
    before = len(asked.get("/train").json()["data"])
    for path in ("/sweeps", "/train"):
        answer = asked.post(path)
        assert (answer.status_code, answer.json()["code"]) == (429, "busy")
        assert int(answer.headers["retry-after"]) > 0
    assert len(asked.get("/train").json()["data"]) == before


def test_sweeps_are_listed_newest_first_in_pages(asked):
    ids = [asked.post("/sweeps", json={"epochs": 1}).json()["id"] for _ in range(3)]
    first = asked.get("/sweeps?limit=2").json()
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (ids[:0:-1], True)
    rest = asked.get(f"/sweeps?after={ids[1]}").json()
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (ids[:1], False)
    singly = [asked.get(f"/sweeps/{each}").json() for each in reversed(ids)]
    assert first["data"] + rest["data"] == singly
    assert asked.get("/sweeps?after=x").status_code == 404
    assert asked.get("/sweeps?limit=101").status_code == 422


def test_a_sweep_is_cancelled_once_and_with_it_its_jobs(asked):
    sweep = asked.post("/sweeps", json=GRID).json()
    asked.post(f"/train/{sweep['jobs'][0]['id']}/cancel")
    answer = asked.post(f"/sweeps/{sweep['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert answer.json()["finished_at"]
    assert {job["status"] for job in answer.json()["jobs"]} == {"cancelled"}
    again = asked.post(f"/sweeps/{sweep['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_an_unknown_sweep_is_a_404(refusing):
    assert refusing.get("/sweeps/x").json()["code"] == "not_found"
    assert refusing.post("/sweeps/x/cancel").json()["code"] == "not_found"
