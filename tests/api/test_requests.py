"""Request ids, access log lines, and the pages that every visitor may open."""

import logging
import re

import pytest

from tests.service.running import wait_until

pytestmark = pytest.mark.read_only


def test_the_id_of_the_request_comes_back(client):
    assert client.get("/health/live", headers={"X-Request-ID": "a-1"}).headers["x-request-id"] == (
        "a-1"
    )


@pytest.mark.parametrize("request_id", ["", "x" * 200, "two words", "caf\u00e9".encode()])
def test_an_unusable_id_is_replaced(client, request_id):
    generated_id = client.get("/health/live", headers={"X-Request-ID": request_id}).headers[
        "x-request-id"
    ]
    assert re.fullmatch("[0-9a-f]{16}", generated_id)


def lines_of_live_and(path, client, caplog):
    """Return the last two lines of the access log, after `/health/live` and `path`.

    A line is written just after its answer: one of an earlier test may come first.
    """

    def lines():
        logged = [record.getMessage() for record in caplog.records if record.name == "app.access"]
        return logged[-2:]

    with caplog.at_level(logging.INFO, "app.access"):
        client.get("/health/live")
        client.get(path)
        assert wait_until(lambda: len(lines()) == 2 and lines()[0].startswith("GET /health/live "))
    return lines()


def test_every_request_is_one_line(client, caplog):
    live, nothing = lines_of_live_and("/nothing", client, caplog)
    assert re.fullmatch(r"GET /health/live 200 \d+\.\d ms", live)
    assert nothing.startswith("GET /nothing 404 ")


@pytest.mark.parametrize(
    ("path", "logged_path"),
    [
        ("/%0a%1b%5b31mFAKE%20200%201.0%20ms", "/%0a%1b%5b31mFAKE%20200%201.0%20ms"),
        ("/" + "x" * 1000, "/" + "x" * 255 + "…"),
    ],
)
def test_no_path_forges_a_line_or_fills_the_log(client, caplog, path, logged_path):
    _, line = lines_of_live_and(path, client, caplog)
    assert re.fullmatch(rf"GET {re.escape(logged_path)} 404 \d+\.\d ms", line)


@pytest.mark.read_only(False)
def test_health(client):
    assert client.get("/health/live").json() == {"status": "live"}
    ready = {"status": "ready", "version": 1, "device": "cpu", "lost": None, "images": {}}
    ready["retraining"] = None
    decoders = client.app_state["services"].settings.effective_decoders + 1
    assert client.get("/health/ready").json() == {**ready, "decoders": decoders}


@pytest.mark.read_only(False)
def test_images_are_counted_by_what_became_of_them(client, seven):
    for upload in (seven, seven, b"no image"):
        client.post("/predict", content=upload)
    client.post("/predict/batch", files=[("files", ("a", seven)), ("files", ("b", b""))])
    assert client.get("/health/ready").json()["images"] == {"answered": 3, "not_an_image": 2}


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_answers_head(client, path):
    assert client.head(path).status_code == 200


@pytest.mark.read_only(False)
def test_a_draining_service_is_not_ready(client):
    client.app_state["services"].draining.set()
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert "draining" in answer.json()["detail"]
    assert client.get("/health/live").status_code == 200


def test_the_documentation_needs_no_internet(client):
    page = client.get("/docs").text
    paths = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sum(path.startswith("web/") for path in paths) == 7
    for path in paths:
        assert not re.match(r"/|\w+:", path), "everything comes from the service itself"
        assert client.get(f"/{path.removeprefix('./')}").status_code == 200
    assert "<script>" not in page, "nothing is inline"


PATHS = {
    "/predict",
    "/predict/batch",
    "/metrics",
    "/train",
    "/train/{job_id}",
    "/train/{job_id}/log",
    "/train/{job_id}/events",
    "/train/{job_id}/cancel",
    "/train/{job_id}/pause",
    "/train/{job_id}/resume",
    "/train/{job_id}/checkpoints",
    "/train/{job_id}/checkpoints/{epoch}",
    "/sweeps",
    "/sweeps/{sweep_id}",
    "/sweeps/{sweep_id}/cancel",
    "/models",
    "/models/{version}",
    "/models/{version}/weights",
    "/models/{version}/errors",
    "/models/current",
    "/models/rollback",
    "/keys",
    "/keys/{key_id}",
    "/keys/{key_id}/rotate",
    "/read",
    "/feedback",
    "/feedback/{correction_id}",
    "/feedback/{correction_id}/image",
    "/datasets",
    "/datasets/{dataset}",
    "/datasets/{dataset}/images",
    "/health/live",
    "/health/ready",
    "/v1/models",
    "/v1/models/mynet",
    "/v1/models/mynet:predict",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/mynet",
    "/v2/models/mynet/ready",
    "/v2/models/mynet/infer",
    "/v2/models/mynet/versions/{version}",
    "/v2/models/mynet/versions/{version}/ready",
    "/v2/models/mynet/versions/{version}/infer",
    "/ping",
    "/invocations",
}


def test_every_route_is_documented_with_its_bodies(client):
    document = client.get("/openapi.json").json()
    paths = document["paths"]
    assert set(paths) == PATHS
    bodies = paths["/predict"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "application/json", "image/*"} <= set(bodies)
    bodies = paths["/models"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "application/octet-stream"} == set(bodies)
    weights = paths["/models/{version}/weights"]["get"]["responses"]
    assert set(weights["200"]["content"]) == {"application/octet-stream"}
    hyperparameters = document["components"]["schemas"]["TrainRequest"]
    assert "learning_rate" in hyperparameters["properties"]
    for operations in paths.values():
        for operation in operations.values():
            assert operation["summary"]
            assert "500" in operation["responses"]
