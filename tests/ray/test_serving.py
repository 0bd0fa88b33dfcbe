"""The contract through Serve's proxy: what is asked of the app is answered as ever."""

import httpx2
import pytest

from tests.conftest import ROOT
from tests.ray.rigs.cluster import REPLICA

SEVEN = (ROOT / "docs/images/seven.jpg").read_bytes()


@pytest.fixture
def client(service):
    with httpx2.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=30) as client:
        yield client


def test_an_image_is_read_in_all_three_forms(client):
    import base64

    answers = [
        client.post("/predict", files={"file": ("seven.jpg", SEVEN)}),
        client.post("/predict", content=SEVEN, headers={"Content-Type": "image/jpeg"}),
        client.post("/predict", json={"image": base64.b64encode(SEVEN).decode()}),
    ]
    assert [response.status_code for response in answers] == [200] * 3
    assert {response.json()["digit"] for response in answers} == {7}


def test_a_batch_is_answered(client):
    files = [("files", ("seven.jpg", SEVEN))] * 3
    answer = client.post("/predict/batch", files=files)
    assert [prediction["digit"] for prediction in answer.json()["predictions"]] == [7] * 3


def test_refusals_are_problem_details(client):
    errors = [
        (client.get("/nope"), 404),
        (client.post("/predict", content=b"no image", headers={"Content-Type": "image/png"}), 415),
        (client.post("/predict", content=bytes(11 * 1024**2)), 413),
    ]
    for answer, status in errors:
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_an_id_is_answered_once_whoever_drew_it(client):
    for headers in ({}, {"X-Request-ID": "mine"}):
        answer = client.get("/health/live", headers=headers)
        (request_id,) = answer.headers.get_list("X-Request-ID")
        assert request_id == headers.get("X-Request-ID", request_id)


def test_pages_and_heads(client):
    assert client.head("/").headers["Content-Type"].startswith("text/html")
    assert client.head("/").content == b""
    assert "swagger" in client.get("/docs").text.lower()
    assert client.get("/openapi.json").json()["paths"]["/predict"]


def test_a_large_file_passes(client):
    weights = client.get("/models/1/weights").content
    answer = client.post("/models", files={"file": ("1.safetensors", weights)})
    assert answer.status_code in (201, 409), answer.text


def test_each_node_has_a_replica(service, cluster):
    assert service.is_ready()
    assert [len(node.running(REPLICA)) for node in cluster.nodes] == [1, 1]
