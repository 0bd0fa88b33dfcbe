"""Checkpoints over HTTP: listed, made a version, and begun with."""

import pytest

from app.train.jobs import job as jobs
from app.train.jobs.fenced_writer import FencedWriter

EPOCH = {"train_loss": 0.5, "test_loss": 0.4, "test_accuracy": 0.9, "seconds": 1.0}


@pytest.fixture
def job(idle):
    """The id of a job with checkpoints of the epochs 0 and 1; a third epoch lost its own."""
    services = idle.app_state["services"]
    job_id = idle.post("/train", json={"keep_checkpoints": True}).json()["id"]
    attempt = jobs.start(services.job_store, jobs.get(services.job_store, job_id))
    epochs = [{"epoch": epoch, **EPOCH} for epoch in range(3)]
    writer = FencedWriter(services.job_store, job_id, attempt)
    writer.record("epoch", epochs[-1], epochs=epochs)
    card = services.registry.card(1).model_copy(update={"job": job_id})
    for epoch in (0, 1):
        own_card = card.model_copy(update={"checkpoint": epoch})
        services.checkpoints.write(job_id, epoch, services.registry.weights(1), own_card)
    jobs.cancel(services.job_store, job_id)
    return job_id


def test_checkpoints_are_listed_with_their_figures(idle, job):
    data = idle.get(f"/train/{job}/checkpoints").json()["data"]
    assert [checkpoint["epoch"] for checkpoint in data] == [0, 1]
    assert data[0]["bytes"] > 1_386_968
    assert {name: data[0][name] for name in EPOCH} == EPOCH
    assert data[0]["validation_loss"] is None


def test_checkpoint_becomes_a_version_once(idle, job):
    first = idle.post(f"/train/{job}/checkpoints/1")
    assert (first.status_code, first.headers["location"]) == (201, "/models/2")
    card = first.json()
    assert (card["version"], card["job"], card["checkpoint"]) == (2, job, 1)
    again = idle.post(f"/train/{job}/checkpoints/1")
    assert (again.status_code, again.json()) == (200, card)
    assert idle.get("/models").json()["current"] == 1
    assert idle.put("/models/current", json={"version": 2}).status_code == 200
    assert idle.get("/models").json()["current"] == 2


def test_weights_of_an_epoch_are_a_download_with_their_digest_as_etag(idle, job):
    path = f"/train/{job}/checkpoints/1"
    answer = idle.get(path)
    services = idle.app_state["services"]
    file = services.settings.checkpoints_dir / job / "1.safetensors"
    assert (answer.status_code, answer.content) == (200, file.read_bytes())
    assert answer.headers["content-disposition"].endswith(f'"mynet-{job}-1.safetensors"')
    etag = answer.headers["etag"]
    assert etag == f'"{services.registry.card(1).weights_digest}"'
    unchanged = idle.get(path, headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    missing = idle.get(f"/train/{job}/checkpoints/7")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_missing_jobs_and_epochs_are_named(idle, job):
    for path in (f"/train/{job}/checkpoints/7", "/train/none/checkpoints/0"):
        answer = idle.post(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert idle.get("/train/none/checkpoints").status_code == 404
    assert "Its epochs with a checkpoint are: 0, 1." in idle.post(
        f"/train/{job}/checkpoints/7"
    ).json()["detail"]  # fmt: skip
    assert idle.post(f"/train/{job}/checkpoints/1000").status_code == 422


def test_job_begins_with_a_checkpoint_even_if_it_is_deleted_then(idle, job):
    init = {"job": job, "epoch": 1}
    plan = idle.post("/train", json={"init": init, "dry_run": True})
    assert plan.status_code == 200
    answer = idle.post("/train", json={"init": init}, headers={"Idempotency-Key": "a"})
    assert answer.status_code == 202
    assert answer.json()["hyperparameters"]["init"] == {"version": None, **init}
    assert idle.delete(f"/train/{job}").status_code == 204
    refused = idle.post("/train", json={"init": init, "dry_run": True})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "init")
    again = idle.post("/train", json={"init": init}, headers={"Idempotency-Key": "a"})
    assert again.json()["id"] == answer.json()["id"]
    services = idle.app_state["services"]
    assert services.job_store.initial_weights(answer.json()["id"])


def test_checkpoints_end_with_their_job(idle, job):
    folder = idle.app_state["services"].settings.checkpoints_dir
    assert (folder / job).exists()
    idle.delete(f"/train/{job}")
    assert not (folder / job).exists()
