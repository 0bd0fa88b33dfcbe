"""Pages of other sites, which a browser lets ask whatever needs no key."""

import pytest
from starlette.testclient import TestClient

from app.main import create_app

pytestmark = pytest.mark.read_only

FOREIGN = "https://evil.example"
CHANGES = [
    ("POST", "/train"),
    ("POST", "/sweeps"),
    ("POST", "/train/none/cancel"),
    ("PUT", "/models/current"),
    ("POST", "/models"),
    ("POST", "/models/rollback"),
    ("DELETE", "/models/1"),
    ("POST", "/feedback"),
]
PREDICTIONS = [
    ("POST", "/predict"),
    ("POST", "/predict?explain=true"),
    ("POST", "/predict/batch"),
    ("POST", "/read"),
    ("POST", "/invocations"),
    ("POST", "/v1/models/mynet:predict"),
    ("POST", "/v2/models/mynet/infer"),
    ("POST", "/v2/models/mynet/versions/1/infer"),
]


def send(client, method, path, **headers):
    http_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.request(method, path, headers=http_headers)


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_a_page_of_another_site_changes_nothing(client, method, path):
    for headers in (
        {"origin": FOREIGN, "sec_fetch_site": "cross-site", "content_type": "text/plain"},
        {"origin": "http://localhost:9000", "sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site"},
        {"origin": FOREIGN},
        {"origin": "null"},
        {"origin": "http://[::"},
    ):
        answer = send(client, method, path, **headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), headers
    assert client.get("/train").json()["data"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://testserver", "sec_fetch_site": "same-origin"},
        {"origin": "http://testserver"},
        {"sec_fetch_site": "none"},
    ],
)
def test_the_services_own_page_and_who_is_no_page_pass(client, headers):
    answer = send(client, "POST", "/models/rollback", **headers)
    assert answer.json()["code"] == "conflict", "there is none before"


@pytest.mark.parametrize(("method", "path"), PREDICTIONS)
def test_check_prediction_from_another_site_returns_403(client, method, path):
    for headers in (
        {"origin": FOREIGN, "sec_fetch_site": "cross-site", "content_type": "text/plain"},
        {"sec_fetch_site": "cross-site"},
        {"origin": FOREIGN},
        {"origin": "null"},
    ):
        answer = send(client, method, path, **headers)
        assert answer.status_code == 403, headers
        assert "MYNET_CORS_ORIGINS" in answer.text


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "http://testserver", "sec_fetch_site": "same-origin"}],
)
def test_check_prediction_of_the_own_page_passes(client, headers):
    assert send(client, "POST", "/predict", **headers).json()["code"] == "not_an_image"


def test_check_reading_from_another_site_passes(client):
    foreign = {"origin": FOREIGN, "sec_fetch_site": "cross-site"}
    assert send(client, "GET", "/models", **foreign).status_code == 200


def test_check_prediction_where_predictions_are_public_passes(settings):
    settings = settings.model_copy(update={"auth": "predict"})
    with TestClient(create_app(settings)) as client:
        answer = send(client, "POST", "/predict", origin=FOREIGN, sec_fetch_site="cross-site")
        assert answer.json()["code"] == "not_an_image"


@pytest.mark.parametrize("origins", [FOREIGN, "*"])
def test_origins_that_may_ask_may_change(settings, origins):
    settings = settings.model_copy(update={"cors_origins": origins})
    with TestClient(create_app(settings)) as client:
        answer = send(
            client, "POST", "/models/rollback", origin=FOREIGN, sec_fetch_site="cross-site"
        )
        assert answer.json()["code"] == "conflict"
        answer = send(client, "POST", "/predict", origin=FOREIGN, sec_fetch_site="cross-site")
        assert answer.json()["code"] == "not_an_image"


def test_where_a_key_is_wanted_the_key_decides(settings):
    settings = settings.model_copy(update={"auth": "keys"})
    with TestClient(create_app(settings)) as client:
        answer = send(
            client, "POST", "/models/rollback", origin=FOREIGN, sec_fetch_site="cross-site"
        )
        assert answer.json()["code"] == "unauthenticated"
