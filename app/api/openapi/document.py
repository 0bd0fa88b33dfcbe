"""The OpenAPI document, so far as it is not the routes' own.

What enters: what FastAPI says of the routes. What leaves: the whole document. This module does not
know which routes there are.
"""

from collections.abc import Iterator
from importlib.metadata import version as version_of
from typing import Any, Final

from fastapi.routing import APIRoute

from app.api.error_responses import REQUEST_ID as EXAMPLE_ID
from app.api.error_responses import headers
from app.api.openapi.examples import JOB, examples_by_schema, read_by_routes

REQUEST_ID: Final = "X-Request-ID"
DESCRIPTION: Final = f"""\
Post an image of a handwritten digit, and get the digit; post to `/train`, and a new network is
trained in the background, evaluated, and goes live if it is better.

Every answer has the header `{REQUEST_ID}`: the request's own, or one that was drawn. Every GET can
be asked by HEAD. Times are RFC 3339 in UTC, durations seconds, sizes bytes. What goes wrong is told
as `application/problem+json` (RFC 9457); programs can rely on its `code`, and more codes may come.
Paths under `/v1` and `/v2` have the errors of those protocols.

Before there is a route, a connection may be told: 400 `malformed_request` where it speaks no
HTTP/1.1 or has headers over 64 KiB, 408 `request_timeout` where too little comes, 503 `not_ready`
where there are too many connections. Each is the connection's last answer.
"""
TAGS: Final = [
    {"name": "predict", "description": "Digits read from images."},
    {"name": "feedback", "description": "Images that were read wrong, with what they show."},
    {"name": "train", "description": "Jobs that train a network, and what happens to them."},
    {"name": "models", "description": "Versions: trained or uploaded; one of them is live."},
    {"name": "health", "description": "For whoever watches the service."},
    {"name": "KServe V1", "description": "The protocol of TensorFlow Serving."},
    {"name": "Open Inference Protocol", "description": "Version 2, as KServe and Triton speak it."},
    {"name": "SageMaker", "description": "What Amazon SageMaker asks of a container."},
]
# FastAPI tells of these wherever there is a parameter, be it one that any text is good for.
UNUSED_SCHEMAS: Final = ("HTTPValidationError", "ValidationError")
HEADERS: Final = {
    REQUEST_ID: ("the request's id: its own, or one that was drawn", EXAMPLE_ID),
    "Retry-After": ("seconds after which to try again; not always told", "30"),
    "WWW-Authenticate": ("how to say who asks", "Bearer"),
    "Location": ("the path of what was made", f"/train/{JOB}"),
    "ETag": ("the digest of the weights, in quotes", f'"{EXAMPLE_ID}"'),
    "Content-Disposition": ("a name for the file", 'attachment; filename="mynet-3.safetensors"'),
    "X-Content-Type-Options": ("the file is what its type says", "nosniff"),
    "Inference-Header-Content-Length": ("length of the JSON before the tensors", "167"),
}


def fastapi_options() -> dict[str, Any]:
    """Return what FastAPI is told of the document."""
    return {
        "title": "MyNet",
        "version": version_of("mynet"),
        "summary": "POST a handwritten digit, get the digit; POST /train, get a better reader.",
        "description": DESCRIPTION,
        "license_info": {"name": "MIT", "identifier": "MIT"},
        "openapi_tags": TAGS,
        "generate_unique_id_function": operation_id,
    }


def operation_id(route: APIRoute) -> str:
    """Name an operation as its function: generated clients have methods of these names."""
    return route.name


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add what is everywhere, and what routes refer to but FastAPI does not know."""
    components = document["components"]
    schemas = {**components["schemas"], **read_by_routes()}
    for name in UNUSED_SCHEMAS:
        schemas.pop(name, None)
    for name, examples in examples_by_schema().items():
        schemas[name]["examples"] = examples
    components["schemas"] = dict(sorted(schemas.items()))
    components["headers"] = {
        name: {"description": description, "schema": {"type": "string"}, "example": example}
        for name, (description, example) in HEADERS.items()
    }
    for operation in _operations(document):
        for parameter in operation.get("parameters", []):
            parameter["schema"] = _without_null(parameter["schema"])
        sorted_responses = sorted(operation["responses"].items())
        responses = {
            status: response
            for status, response in sorted_responses
            if UNUSED_SCHEMAS[0] not in str(response)
        }
        for response in responses.values():
            response.setdefault("headers", {}).update(headers(REQUEST_ID))
        operation["responses"] = responses
    return document


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """What may be left out is no null: outside of JSON there is none."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    kind: dict[str, Any] = kinds[0]
    return {name: value for name, value in schema.items() if name != "anyOf"} | kind
