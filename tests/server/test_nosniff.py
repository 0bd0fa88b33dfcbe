"""`X-Content-Type-Options: nosniff`, which every response has once."""

import pytest

from app.main import create_app
from tests.conftest import settings_in
from tests.served import serve_app
from tests.server.raw_http import LIVE, exchange

NAME = "x-content-type-options"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    settings = settings_in(tmp_path_factory.mktemp("nosniff"))
    app = create_app(settings.model_copy(update={"cors_origins": "http://a.example"}))
    with serve_app(app) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/health/live", 200),
        ("HEAD", "/health/live", 200),
        ("GET", "/health/ready", 200),
        ("GET", "/metrics", 200),
        ("GET", "/train", 200),
        ("GET", "/models/1/weights", 200),
        ("GET", "/nothing", 404),
        ("DELETE", "/predict", 405),
        ("POST", "/v1/models/mynet:predict", 400),
        ("POST", "/v2/models/mynet/infer", 400),
    ],
)
def test_response_of_a_route_has_nosniff_once(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers.get_list(NAME) == ["nosniff"]


@pytest.mark.parametrize("path", ["/predict", "/predict?explain=false"])
def test_prediction_has_nosniff_once(client, seven, path):
    for upload, status in ((seven, 200), (b"no image", 415)):
        response = client.post(path, content=upload)
        assert response.status_code == status
        assert response.headers.get_list(NAME) == ["nosniff"]


def test_stored_image_has_nosniff_once(client, seven):
    stored = client.post("/feedback", files={"file": ("a.png", seven)}, data={"label": "7"})
    response = client.get(stored.headers["location"])
    assert response.headers["content-type"] == "image/png"
    assert response.headers.get_list(NAME) == ["nosniff"]


def test_preflight_has_nosniff_once(client):
    headers = {"Origin": "http://a.example", "Access-Control-Request-Method": "POST"}
    response = client.options("/predict", headers=headers)
    assert response.status_code == 200
    assert response.headers.get_list(NAME) == ["nosniff"]


def test_rejection_by_the_server_has_nosniff(client):
    responses = exchange(client, LIVE + b"GARBAGE\r\n\r\n")
    assert [response.status for response in responses] == [200, 400]
    assert [response.headers[NAME] for response in responses] == ["nosniff"] * 2
