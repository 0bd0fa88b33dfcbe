"""Sweeps over HTTP, with a supervisor that starts nothing."""

import pytest

from tests.api.routes.test_train import idle  # noqa: F401
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES

GRID = {"name": "both", "learning_rate": [0.01, 0.1], "seed": [1, 2], "epochs": 1}


@pytest.fixture
def idle_client(idle):  # noqa: F811
    return idle


def test_a_sweep_is_a_group_of_ordinary_jobs(idle_client):
    answer = idle_client.post("/sweeps", json=GRID)
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/sweeps/{body['id']}"
    assert (body["name"], body["status"], body["hyperparameters"]) == ("both", "queued", GRID)
    assert body["best"] is body["error"] is body["finished_at"] is None
    varied = [job["hyperparameters"] for job in body["jobs"]]
    assert varied == [
        {"learning_rate": rate, "seed": seed} for rate in (0.01, 0.1) for seed in (1, 2)
    ]
    listed = idle_client.get("/train").json()["data"]
    assert [job["id"] for job in listed] == [job["id"] for job in body["jobs"]][::-1]
    assert {(job["sweep"], job["hyperparameters"]["promote"]) for job in listed} == {
        (body["id"], "never")
    }
    assert idle_client.get(f"/train/{listed[0]['id']}").json()["sweep"] == body["id"]
    assert idle_client.post("/train").json()["sweep"] is None
    assert idle_client.get(answer.headers["location"]).json() == body


def test_one_seed_is_drawn_for_all(idle_client):
    body = idle_client.post("/sweeps", json={"epochs": [1, 2]}).json()
    seeds = {job["hyperparameters"]["seed"] for job in idle_client.get("/train").json()["data"]}
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
def test_every_bad_field_is_named(rejecting_client, body, field):
    answer = rejecting_client.post("/sweeps", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert (
        rejecting_client.get("/train").json()["data"]
        == rejecting_client.get("/sweeps").json()["data"]
        == []
    )


def test_what_is_no_object_is_malformed(rejecting_client):
    assert rejecting_client.post("/sweeps", content="[").json()["code"] == "malformed_request"


def test_an_idempotency_key_makes_a_retry_the_same_sweep(idle_client):
    key = {"Idempotency-Key": "k"}
    first, again = (
        idle_client.post("/sweeps", headers=key, json={"epochs": [1, 2]}).json() for _ in range(2)
    )
    assert first == again
    other = idle_client.post("/sweeps", headers=key, json={"epochs": [1, 3]})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert len(idle_client.get("/train").json()["data"]) == 2


def test_in_the_queue_a_sweep_counts_as_one_and_is_refused_whole(idle_client, settings):
    assert idle_client.post("/sweeps", json=GRID).status_code == 202
    for _ in range(settings.train_queue - 1):
        assert idle_client.post("/train").status_code == 202
    before = len(idle_client.get("/train").json()["data"])
    for path in ("/sweeps", "/train"):
        answer = idle_client.post(path)
        assert (answer.status_code, answer.json()["code"]) == (429, "busy")
        assert int(answer.headers["retry-after"]) > 0
    assert len(idle_client.get("/train").json()["data"]) == before


def test_sweeps_are_listed_newest_first_in_pages(idle_client):
    ids = [idle_client.post("/sweeps", json={"epochs": 1}).json()["id"] for _ in range(3)]
    first = idle_client.get("/sweeps?limit=2").json()
    assert ([sweep["id"] for sweep in first["data"]], first["has_more"]) == (ids[:0:-1], True)
    rest = idle_client.get(f"/sweeps?after={ids[1]}").json()
    assert ([sweep["id"] for sweep in rest["data"]], rest["has_more"]) == (ids[:1], False)
    singly = [idle_client.get(f"/sweeps/{sweep_id}").json() for sweep_id in reversed(ids)]
    assert first["data"] + rest["data"] == singly
    assert idle_client.get("/sweeps?after=x").status_code == 404
    assert idle_client.get("/sweeps?limit=101").status_code == 422


def test_a_sweep_is_cancelled_once_and_with_it_its_jobs(idle_client):
    sweep = idle_client.post("/sweeps", json=GRID).json()
    idle_client.post(f"/train/{sweep['jobs'][0]['id']}/cancel")
    answer = idle_client.post(f"/sweeps/{sweep['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert answer.json()["finished_at"]
    assert {job["status"] for job in answer.json()["jobs"]} == {"cancelled"}
    again = idle_client.post(f"/sweeps/{sweep['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_an_unknown_sweep_is_a_404(rejecting_client):
    assert rejecting_client.get("/sweeps/x").json()["code"] == "not_found"
    assert rejecting_client.post("/sweeps/x/cancel").json()["code"] == "not_found"


def test_a_finished_sweep_is_deleted_with_its_jobs(idle_client):
    sweep = idle_client.post("/sweeps", json={"epochs": [1, 2]}).json()
    path, job = f"/sweeps/{sweep['id']}", f"/train/{sweep['jobs'][0]['id']}"
    assert idle_client.delete(path).status_code == 409
    idle_client.post(f"{path}/cancel")
    refused = idle_client.delete(job)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert f"belongs to the sweep {sweep['id']}" in refused.json()["detail"]
    assert idle_client.delete(path).status_code == 204
    assert {idle_client.get(gone).status_code for gone in (path, job)} == {404}
    assert idle_client.delete(path).json()["code"] == "not_found"
