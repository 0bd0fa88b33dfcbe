"""The metrics that Prometheus scrapes."""

import subprocess
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse
from starlette.testclient import TestClient

from app.database.database import Database
from app.database.jobs import JobStore
from app.database.tables import Event, Job, now
from app.errors import NotReady
from app.main import create_app
from app.monitoring import prometheus
from app.telemetry.metrics import Metrics, Route
from app.telemetry.worker_metrics import Entry
from app.versions.card import TrainingData
from tests.api.routes.test_predict_fast_path import serve_app
from tests.programs import find_program

ROUTE = {"method": "POST", "route": "/predict"}


def value(client, name, **labels):
    """Return a sample of the exposition, None where there is none."""
    families = parse(client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return next((s.value for s in samples if (s.name, s.labels) == (name, labels)), None)


@contextmanager
def assert_increment(client, name, by, **labels):
    before = value(client, name, **labels) or 0
    yield
    assert value(client, name, **labels) == before + by


def add_job(settings, **fields):
    store = JobStore(Database(settings.effective_database_url))
    job_fields = {
        "id": "a",
        "created_at": now(),
        "not_before": now(),
        "started_at": now(),
        **fields,
    }
    store.add_job(Job(**job_fields), Event(job_id="a", at=now(), kind="x", data={}), max_queued=9)
    store.database.close()


def test_both_ways_of_a_prediction_are_counted(settings, seven):
    with serve_app(create_app(settings)) as client:
        for path in ("/predict", "/predict", "/predict?explain=true"):
            assert client.post(path, content=seven).json()["digit"] == 7
        assert client.post("/predict", content=b"?").status_code == 415
        assert value(client, "mynet_http_requests_total", **ROUTE, status="200") == 3
        assert value(client, "mynet_http_requests_total", **ROUTE, status="415") == 1
        assert value(client, "mynet_http_request_duration_seconds_count", **ROUTE) == 4
        assert value(client, "mynet_images_total", outcome="answered") == 3
        assert value(client, "mynet_images_total", outcome="not_an_image") == 1
        assert value(client, "mynet_answers_total", digit="7") == 3
        assert value(client, "mynet_answer_confidence_ratio_count") == 3
        assert value(client, "mynet_batch_images_sum") == 3
        for stage, images in {"queue": 3, "decode": 3, "normalise": 3, "forward": 3}.items():
            assert value(client, "mynet_stage_duration_seconds_count", stage=stage) == images


def test_each_image_of_a_batch_is_counted(client, seven):
    client.post("/predict/batch", files=[("files", seven), ("files", seven), ("files", b"?")])
    assert value(client, "mynet_images_total", outcome="answered") == 2
    assert value(client, "mynet_images_total", outcome="not_an_image") == 1
    assert value(client, "mynet_answers_total", digit="7") == 2
    assert value(client, "mynet_batch_images_sum") == 2
    assert value(client, "mynet_batch_images_count") == 1
    assert value(client, "mynet_stage_duration_seconds_count", stage="forward") == 2


def test_a_full_queue_is_counted(settings, seven):
    limited = settings.model_copy(update={"max_queue": 1})
    with TestClient(create_app(limited), raise_server_exceptions=False) as client:
        client.app_state["services"].predictor.in_flight = 1
        assert value(client, "mynet_images_total", outcome="busy") == 0
        assert value(client, "mynet_images_under_way") == 1
        assert client.post("/predict", content=seven).status_code == 429
        assert value(client, "mynet_images_total", outcome="busy") == 1
        assert value(client, "mynet_http_requests_total", **ROUTE, status="429") == 1


def test_what_clients_make_up_is_taken_together(client):
    labels = {"route": "other", "status": "404"}
    with assert_increment(client, "mynet_http_requests_total", 2, method="GET", **labels):
        client.get("/a")
        client.get("/b")
    with assert_increment(client, "mynet_http_requests_total", 1, method="other", **labels):
        client.request("BREW", "/coffee")
    client.get("/models/1")
    labels = {"method": "GET", "route": "/models/{version}", "status": "200"}
    assert value(client, "mynet_http_requests_total", **labels) == 1


def test_swaps_and_the_live_version_are_told(client):
    registry = client.app_state["services"].registry
    registry.save(registry.weights(1), registry.card(1).model_copy(update={"recipe": "robust"}))
    card = client.get("/models/2").json()
    labels = {"version": "2", "recipe": "robust", "origin": card["origin"]}
    labels["test_dataset"] = "mnist-test"  # the card names no data sets
    assert value(client, "mynet_model_info", **labels) is None
    with assert_increment(client, "mynet_model_swaps_total", 1):
        client.put("/models/current", json={"version": 2})
        client.put("/models/current", json={"version": 2})
    assert value(client, "mynet_model_info", **labels) == 1
    assert value(client, "mynet_model_test_accuracy_ratio") == card["test_accuracy"]
    shares = [
        value(client, "mynet_model_expected_answers_ratio", digit=str(digit)) for digit in range(10)
    ]
    assert sum(shares) == pytest.approx(1)
    assert shares[3] == sum(row[3] for row in card["confusion"]) / 10_000


def test_the_data_set_of_the_test_images_is_named(client, settings):
    registry = client.app_state["services"].registry
    reference = {"id": "a" * 16, "name": "mine", "digest": "sha256:0", "images": 9}
    data = TrainingData.model_validate({"train": [], "test": reference})
    card = registry.card(1).model_copy(update={"data": data})
    registry.save(registry.weights(1), card)
    client.put("/models/current", json={"version": 2})
    labels = {"version": "2", "recipe": card.recipe, "origin": card.origin}
    labels["test_dataset"] = "mine"
    assert value(client, "mynet_model_info", **labels) == 1
    add_job(
        settings,
        status="running",
        hyperparameters={"batch_size": 100},
        epochs=[{"train_loss": 0.5, "test_loss": 0.4, "test_accuracy": 0.9, "seconds": 2.0}],
    )
    exposition = client.get("/metrics").text
    assert "mynet_training_test_accuracy_ratio" in exposition
    assert "MNIST" not in exposition  # other data sets may test a version


def test_the_last_job_is_told(client, settings):
    assert value(client, "mynet_jobs", status="succeeded") == 0
    assert value(client, "mynet_training_progress_ratio") is None
    add_job(
        settings,
        status="succeeded",
        hyperparameters={"batch_size": 100},
        progress={"batches": 600, "fraction": 1.0},
        epochs=[{"train_loss": 0.5, "test_loss": 0.4, "test_accuracy": 0.9, "seconds": 2.0}],
    )
    assert value(client, "mynet_jobs", status="succeeded") == 1
    expected = {
        "progress_ratio": 1,
        "epochs": 1,
        "train_loss": 0.5,
        "test_loss": 0.4,
        "test_accuracy_ratio": 0.9,
        "images_per_second": 30_000,
    }
    assert {name: value(client, f"mynet_training_{name}") for name in expected} == expected


def test_a_database_that_does_not_answer_is_told(client, monkeypatch):
    def fail(_):
        raise NotReady("locked")

    monkeypatch.setattr(JobStore, "count_jobs", fail)
    assert value(client, "mynet_database_up") == 0
    assert value(client, "mynet_images_total", outcome="answered") == 0


@pytest.mark.read_only
def test_the_client_chooses_the_format(client):
    plain = client.get("/metrics")
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    accept = "application/openmetrics-text; version=1.0.0, text/plain; q=0.5"
    openmetrics = client.get("/metrics", headers={"accept": accept})
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")


@pytest.mark.read_only
def test_promtool_has_no_complaint(client, seven):
    client.post("/predict", content=seven)
    command = [find_program("promtool"), "check", "metrics"]
    exposition = client.get("/metrics").text
    done = subprocess.run(command, input=exposition, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_of_a_worker_that_ended_only_what_it_counted_counts():
    def worker_families(tally, under_way):
        return prometheus.process_families(tally, in_flight=under_way, swaps=1, decoders=3)

    mine, its = Metrics(), Metrics()
    mine.batch(3, 0.5)
    its.batch(200, 0.5)
    its.request(Route("GET", "/models"), 200, 0.1)
    for alive, under_way in ((True, 7), (False, 2)):
        together = worker_families(mine, 2)
        prometheus.merge_workers(
            together, [Entry(alive, prometheus.samples(worker_families(its, 5)))]
        )
        sums = {(s.name, *s.labels.values()): s.value for f in together for s in f.samples}
        assert sums["mynet_images_under_way",] == under_way
        assert sums["mynet_model_swaps_total",] == 2
        assert sums["mynet_http_requests_total", "GET", "/models", "200"] == 1
        assert sums["mynet_batch_images_bucket", "4.0"] == 1
        assert sums["mynet_batch_images_bucket", "+Inf"] == 2
        assert sums["mynet_batch_images_sum",] == 203


@pytest.mark.read_only
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; version=0.0.4"),
        ("application/openmetrics-text", "application/openmetrics-text"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
        ("application/openmetrics-text; version=abc", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=1.x", "text/plain; version=0.0.4"),
        ("text/plain; version=" + "9" * 5000, "text/plain; version=0.0.4"),
    ],
)
def test_whatever_format_is_asked_for_one_is_given(client, accept, kind):
    answer = client.get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert "mynet_model_info" in answer.text
