"""The OpenAPI document: valid, complete, and true."""

import json

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from app import errors
from app.api.openapi.examples import SEVEN
from app.main import ROUTERS, create_app
from tests.conftest import settings_in

pytestmark = pytest.mark.read_only

GENERIC = ("HTTPValidationError", "ValidationError")
# No client can read the first, and the second is sent before a route is known.
ROUTELESS_CODES = {
    errors.ClientDisconnected.code,
    errors.RequestTimeout.code,
    errors.TransferEncodingNotSupported.code,
    errors.HttpVersionNotSupported.code,
    errors.Misdirected.code,
}


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    settings = settings_in(tmp_path_factory.mktemp("document"))
    return json.loads(json.dumps(create_app(settings).openapi()))


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def media_types(operation):
    bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
    for body in bodies:
        yield from body.get("content", {}).items()


def test_it_is_valid(document):
    validate(document)


def test_every_operation_is_named_and_described(document):
    tags = {tag["name"] for tag in document["tags"]}
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name == name.lower() for name in names)
    for name, operation in operations(document):
        assert operation["summary"] and operation["description"], name
        assert set(operation["tags"]) <= tags, name


def test_every_example_is_of_its_schema(document):
    examples = 0
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", []):
            validate_example({"$ref": f"#/components/schemas/{name}"}, document, example)
            examples += 1
    for _, operation in operations(document):
        for _, media in media_types(operation):
            for example in media.get("examples", {}).values():
                validate_example(media["schema"], document, example["value"])
                examples += 1
    assert examples > len(document["paths"])


def validate_example(schema, document, example):
    whole = {**schema, "components": document["components"]}
    Draft202012Validator(whole).validate(example)


def test_every_operation_tells_its_errors_and_the_request_id(document):
    documented_codes = set()
    for name, operation in operations(document):
        assert "500" in operation["responses"], name
        for status, response in operation["responses"].items():
            assert "X-Request-ID" in response["headers"], name
            if status >= "400":
                ((media_type, media),) = response["content"].items()
                foreign = name.split()[1].startswith(("/v1", "/v2"))
                expected = "application/json" if foreign else "application/problem+json"
                assert media_type == expected, name
                documented_codes |= set(media["examples"])
    codes = {error_type.code for error_type in errors.ServiceError.__subclasses__()}
    assert documented_codes == codes - ROUTELESS_CODES


def test_errors_of_a_router_are_those_of_each_of_its_routes(document):
    responses = [
        (f"{method} {route.path_format}", status, response)
        for router in (module.router for module in ROUTERS)
        for route in router.routes
        for method in route.methods
        for status, response in router.responses.items()
    ]
    assert {status for _, status, _ in responses} == {401, 403, 422, 429, 500, 503}
    for name, status, response in responses:
        method, path = name.split()
        documented = document["paths"][path][method.lower()]["responses"][str(status)]
        ((media_type, media),) = response["content"].items()
        codes = set(documented["content"][media_type]["examples"])
        assert set(media["examples"]) <= codes, name
        assert all(f"`{code}`: " in documented["description"] for code in codes), name


@pytest.mark.parametrize("path", ["/train", "/sweeps"])
def test_errors_of_one_status_are_documented_together(document, path):
    responses = document["paths"][path]["post"]["responses"]
    for status, codes in (
        ("429", ["rate_limited", "busy"]),
        ("503", ["not_ready", "training_unavailable"]),
    ):
        assert list(responses[status]["content"]["application/problem+json"]["examples"]) == codes


def test_what_fastapi_would_say_is_not_there(document):
    assert not any(name in json.dumps(document) for name in GENERIC)


def test_predict_takes_an_image_in_every_form(document):
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {
        "multipart/form-data",
        "application/json",
        "image/*",
        "application/octet-stream",
    }


def test_the_example_is_read_as_it_says(client):
    answer = client.post("/predict", json={"image": SEVEN}).json()
    assert answer["digit"] == 7
    assert client.post("/v1/models/mynet:predict", json={"instances": [SEVEN]}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/train", "GET, HEAD, POST"),
        ("PUT", "/models/1", "DELETE, GET, HEAD"),
        ("GET", "/models/current", "PUT"),
        ("GET", "/models/rollback", "POST"),
        ("HEAD", "/predict", "POST"),
    ],
)
def test_allow_names_every_method_of_the_path(client, method, path, allowed):
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "path", ["/train", "/models/1", "/metrics", "/ping", "/v2", "/docs", "/openapi.json", "/none"]
)
def test_head_is_get_without_the_body(client, path):
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.read_only(False)
@pytest.mark.parametrize("path", ["events", "log?follow=true"])
def test_head_of_a_stream_ends_at_once(client, monkeypatch, path):
    monkeypatch.setattr("app.train.supervisor.supervisor.Supervisor._schedule", lambda _: None)
    job = client.post("/train").json()["id"]
    answer = client.head(f"/train/{job}/{path}")
    assert (answer.status_code, answer.content) == (200, b"")
