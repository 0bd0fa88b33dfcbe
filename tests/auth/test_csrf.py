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


def test_predictions_and_readings_are_asked_for_by_any_page(client):
    foreign = {"origin": FOREIGN, "sec_fetch_site": "cross-site"}
    assert send(client, "POST", "/predict", **foreign).json()["code"] == "not_an_image"
    assert send(client, "GET", "/models", **foreign).status_code == 200


@pytest.mark.parametrize("origins", [FOREIGN, "*"])
def test_origins_that_may_ask_may_change(settings, origins):
    settings = settings.model_copy(update={"cors_origins": origins})
    with TestClient(create_app(settings)) as client:
        answer = send(
            client, "POST", "/models/rollback", origin=FOREIGN, sec_fetch_site="cross-site"
        )
        assert answer.json()["code"] == "conflict"


def test_where_a_key_is_wanted_the_key_decides(settings):
    settings = settings.model_copy(update={"auth": "keys"})
    with TestClient(create_app(settings)) as client:
        answer = send(
            client, "POST", "/models/rollback", origin=FOREIGN, sec_fetch_site="cross-site"
        )
        assert answer.json()["code"] == "unauthenticated"
