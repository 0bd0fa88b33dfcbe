"""`POST /train` with `dry_run`: the plan of a job, and nothing queued."""

import pytest
import torch

from app.mnist.files import TRAIN_COUNTS, TRAIN_LABELS
from app.train.jobs import job as jobs
from app.train.jobs.fenced_writer import FencedWriter
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.plan.recipe_sizes import ALLOGRAPHS, SYNTHETIC_DIGITS, images_per_epoch
from app.train.recipes import drawn_images
from app.train.recipes.dataset import Corrections, Digits
from app.train.recipes.recipes import RECIPES
from tests.conftest import png


def plan(client, **hyperparameters):
    answer = client.post("/train", json={"dry_run": True, **hyperparameters})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_dry_run_answers_the_plan_and_queues_nothing(idle):
    answer = plan(idle, epochs=3, batch_size=700)
    assert answer["hyperparameters"]["epochs"] == 3
    assert answer["hyperparameters"]["seed"] is None
    assert "dry_run" not in answer["hyperparameters"]
    assert answer["images"] == {str(digit): count for digit, count in enumerate(TRAIN_COUNTS)}
    assert answer["steps"] == 3 * 86
    assert (answer["jobs_ahead"], answer["estimated_seconds"]) == (0, None)
    assert idle.get("/train").json()["data"] == []


def test_dry_run_counts_the_images_that_are_held_out(idle):
    answer = plan(idle, epochs=3, validation_fraction=0.1)
    assert answer["validation_images"] == 6000
    assert answer["steps"] == 3 * 540
    assert answer["images"] == plan(idle)["images"]
    assert plan(idle)["validation_images"] == 0


def test_dry_run_completes_a_recipe_and_counts_the_jobs_ahead(idle):
    idle.post("/train")
    answer = plan(idle, recipe="robust", seed=4)
    assert (answer["hyperparameters"]["epochs"], answer["hyperparameters"]["seed"]) == (200, 4)
    assert (answer["jobs_ahead"], answer["steps"]) == (1, 200 * 435)


def test_dry_run_counts_the_corrections(idle, digits):
    for pixels, label in ((digits[0], 7), (digits[1], 3)):
        idle.post("/feedback", files={"file": png(pixels)}, data={"label": str(label)})
    images = plan(idle, include_feedback=True)["images"]
    assert (images["7"], images["3"]) == (TRAIN_COUNTS[7] + 1, TRAIN_COUNTS[3] + 1)


def test_dry_run_counts_images_without_a_digit_where_they_are_used(idle, digits):
    data = {"is_digit": "false"}
    idle.post("/feedback", files={"file": png(digits[0])}, data=data)
    idle.post("/feedback", files={"file": png(digits[1])}, data={"label": "2"})
    for recipe, used in (("documented", 0), ("quick", 0), ("robust", 1)):
        answer = plan(idle, recipe=recipe, include_feedback=True)
        assert answer["non_digits"] == used
        assert sum(answer["images"].values()) == sum(TRAIN_COUNTS) + 1
        assert plan(idle, recipe=recipe)["non_digits"] == 0
    robust = plan(idle, datasets=["corrections"], recipe="robust")
    assert (robust["non_digits"], sum(robust["images"].values())) == (1, 1)


def test_dry_run_counts_the_named_datasets(idle, digits):
    idle.post("/feedback", files={"file": png(digits[0])}, data={"label": "7"})
    both = plan(idle, datasets=["mnist", "corrections"])
    assert both["images"] == plan(idle, include_feedback=True)["images"]
    plan_of_corrections = plan(idle, datasets=["corrections"], epochs=3)
    assert plan_of_corrections["images"] == {str(digit): int(digit == 7) for digit in range(10)}
    assert plan_of_corrections["steps"] == 3
    refused = idle.post("/train", json={"dry_run": True, "datasets": ["absent"]})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "datasets")


def test_dry_run_estimates_by_the_jobs_with_the_closest_batch_size(idle):
    store = idle.app_state["services"].job_store
    for batch_size, seconds in ((100, 2.0), (100, 4.0), (1000, 1.0)):
        ended_job(store, batch_size, seconds)
    assert plan(idle, epochs=5)["estimated_seconds"] == pytest.approx(5 * 3.0)
    assert plan(idle, epochs=5, batch_size=2000)["estimated_seconds"] == pytest.approx(5 * 1.0)
    assert plan(idle, recipe="robust")["estimated_seconds"] is None


def test_dry_run_is_refused_as_the_job_would_be(idle):
    answer = idle.post("/train", json={"dry_run": True, "epochs": 0})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "epochs")
    for _ in range(idle.app_state["services"].settings.train_queue):
        idle.post("/train")
    answer = idle.post("/train", json={"dry_run": True})
    assert (answer.status_code, answer.json()["code"]) == (429, "busy")
    assert "retry-after" in answer.headers


def test_dry_run_says_what_is_wrong_with_damaged_labels(idle, settings, tmp_path):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    services = idle.app_state["services"]
    object.__setattr__(
        services, "settings", settings.model_copy(update={"data_dir": tmp_path / "data"})
    )
    assert sum(plan(idle)["images"].values()) == 60_000, "the published numbers"
    (raw / TRAIN_LABELS).write_bytes(b"damaged")
    answer = idle.post("/train", json={"dry_run": True})
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert "train-labels" in answer.json()["detail"]


@pytest.mark.parametrize("recipe", ["documented", "quick", "robust"])
def test_planned_images_are_those_that_the_recipe_trains_with(recipe, few_digits, monkeypatch):
    seven = Digits(few_digits.pixels[:7], few_digits.labels[:7])
    corrections = Corrections(seven, few_digits.pixels[7:9])
    digits = Digits(few_digits.pixels[:300], few_digits.labels[:300])
    drawn = SYNTHETIC_DIGITS + ALLOGRAPHS
    for name in ("SYNTHETIC_DIGITS", "ALLOGRAPHS", "NEGATIVES"):
        monkeypatch.setattr(drawn_images, name, 5)
    hyperparameters = Hyperparameters(recipe=recipe, batch_size=1, seed=1)
    setup = RECIPES[recipe](hyperparameters, digits, torch.device("cpu"), corrections)
    fewer_drawn = drawn - 10 if recipe == "robust" else 0
    assert len(setup.batches) == images_per_epoch(recipe, 300, 7) - fewer_drawn


def ended_job(store, batch_size, seconds):
    job = jobs.create(store, Hyperparameters(batch_size=batch_size), max_queued=99, key=None)
    attempt = jobs.start(store, job)
    writer = FencedWriter(store, job.id, attempt)
    progress = {"epoch": 0, "epochs": 1, "batch": 1, "batches": 60_000 // batch_size}
    progress |= {"fraction": 1.0, "eta": 0.0}
    epoch = {"epoch": 0, "train_loss": 1.0, "test_loss": 1.0, "test_accuracy": 0.5}
    writer.record("epoch", {}, progress=progress, epochs=[{**epoch, "seconds": seconds}])
    writer.succeed({"version": 1, "test_accuracy": 0.5, "promoted": False, "reason": ""})
