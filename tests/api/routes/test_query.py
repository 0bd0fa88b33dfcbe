"""Query parameters that a route does not know are refused on every route."""

import re

import pytest

pytestmark = pytest.mark.read_only


def operations(client):
    paths = client.get("/openapi.json").json()["paths"]
    return [(method, path) for path, methods in paths.items() for method in methods]


def test_every_route_refuses_an_unknown_query_parameter(client):
    every = operations(client)
    assert len(every) > 40
    for method, path in every:
        answer = client.request(method, re.sub(r"{\w+}", "1", path), params={"epohcs": "1"})
        body = answer.json()
        text = body["error"] if path.startswith(("/v1", "/v2")) else body["detail"]
        assert answer.status_code == 422, (method, path, body)
        assert text.startswith("epohcs: unknown query parameter: "), (method, path)


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", "/train", "this route has none; fields belong in the body"),
        ("POST", "/predict", "the parameters are explain, version; fields belong in the body"),
        ("GET", "/train", "the parameters are after, limit, status"),
        ("POST", "/train/1/cancel", "this route has none"),
    ],
)
def test_unknown_query_parameter_says_what_the_route_knows(client, method, path, message):
    answer = client.request(method, path, params={"epochs": 1, "limit": 1})
    assert answer.status_code == 422
    assert answer.json()["errors"][0] == {
        "field": "epochs",
        "message": f"unknown query parameter: {message}",
    }


def test_unknown_query_parameter_with_a_long_name_is_cut(client):
    answer = client.get("/train", params=dict.fromkeys(["x" * 5000, *map(str, range(50))], 1))
    assert len(answer.json()["errors"]) == 10
    assert len(answer.text) < 5000


@pytest.mark.parametrize("path", ["/?utm_source=mail", "/docs?lang=pt", "/openapi.json?v=1"])
def test_pages_ignore_a_query(client, path):
    assert client.get(path).status_code == 200
