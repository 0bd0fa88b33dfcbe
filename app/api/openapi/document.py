"""OpenAPI document: descriptions, tags, headers and examples beyond those of the routes."""

from collections.abc import Iterator
from importlib.metadata import version as version_of
from typing import Any, Final

from fastapi.routing import APIRoute

from app.api.error_responses import REQUEST_ID as EXAMPLE_ID
from app.api.error_responses import headers
from app.api.openapi import webhooks
from app.api.openapi.examples import JOB, examples_by_schema, read_by_routes

REQUEST_ID: Final = "X-Request-ID"
NOSNIFF: Final = "X-Content-Type-Options"
DESCRIPTION: Final = f"""\
Post an image of a handwritten digit to get the digit. Post to `/train` to train a new network in
the background; it is evaluated, stored as a version, and goes live if it is better.

Every response has the header `{REQUEST_ID}`: the id that the client sent, or a generated one. It
also has `{NOSNIFF}: nosniff`. Every GET route also answers HEAD. Times are RFC 3339
in UTC, durations are seconds, sizes are bytes. Errors are `application/problem+json` (RFC 9457).
A body may be sent with `Content-Encoding: gzip`, `deflate` or `br`; limits hold for it decoded.
Programs can rely on `code`; new codes may be added. Paths under `/v1` and `/v2` use the error
format of their protocol.

The server itself answers some connections and then closes them: 400 `malformed_request` for
anything but HTTP, for headers over 64 KiB, or for HTTP/1.1 without exactly one `Host`;
408 `request_timeout` for a client that sends too slowly; 501 `transfer_encoding_not_supported` for
any transfer encoding but chunked; 503 `not_ready` if too many connections are open; and 505
`http_version_not_supported` for HTTP/2. Such an error comes after the answers to the requests
before it.

A service that listens on a loopback address and needs no key answers 421 `misdirected` for any
`Host` but `localhost`, `127.0.0.1`, `[::1]` and those of `MYNET_ALLOWED_HOSTS`.
"""
TAGS: Final = [
    {"name": "predict", "description": "Read digits from images."},
    {"name": "feedback", "description": "Store corrections: images with their correct digit."},
    {"name": "datasets", "description": "Labelled images, to train and to test with."},
    {"name": "train", "description": "Train networks: jobs and their events."},
    {"name": "models", "description": "Manage versions, trained or uploaded. One of them is live."},
    {"name": "keys", "description": "API keys, for admins."},
    {"name": "health", "description": "Probes and metrics for monitoring."},
    {"name": "KServe V1", "description": "The protocol of TensorFlow Serving."},
    {"name": "Open Inference Protocol", "description": "Version 2, as used by KServe and Triton."},
    {"name": "SageMaker", "description": "The container routes of Amazon SageMaker."},
]
# FastAPI adds these to every operation with parameters, even if every value is valid.
UNUSED_SCHEMAS: Final = ("HTTPValidationError", "ValidationError")
HEADERS: Final = {
    REQUEST_ID: ("the id that the client sent, or a generated one", EXAMPLE_ID),
    "Retry-After": ("seconds to wait before the next try; not always sent", "30"),
    "WWW-Authenticate": ("the authentication scheme", "Bearer"),
    "Accept-Encoding": (
        "codings that a request's body may have; only with `content_encoding_not_supported`",
        "gzip, deflate, br",
    ),
    "Location": ("path of the new resource", f"/train/{JOB}"),
    "ETag": ("digest of the weights, in quotes", f'"{EXAMPLE_ID}"'),
    "Content-Disposition": ("a file name", 'attachment; filename="mynet-3.safetensors"'),
    NOSNIFF: ("tells browsers not to guess the type", "nosniff"),
    "Inference-Header-Content-Length": ("length of the JSON before the tensors", "167"),
}


def fastapi_options() -> dict[str, Any]:
    """Return the arguments of `FastAPI()` that describe the document."""
    return {
        "title": "MyNet",
        "version": version_of("mynet"),
        "summary": "Read handwritten digits, and train better networks.",
        "description": DESCRIPTION,
        "license_info": {"name": "MIT", "identifier": "MIT"},
        "openapi_tags": TAGS,
        "generate_unique_id_function": operation_id,
    }


def operation_id(route: APIRoute) -> str:
    """Return the function's name as operation id: generated clients name their methods after it."""
    return route.name


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add headers, examples, and the schemas that FastAPI does not know to the document."""
    components = document["components"]
    schemas = {**components["schemas"], **read_by_routes()}
    for name in UNUSED_SCHEMAS:
        schemas.pop(name, None)
    for name, examples in examples_by_schema().items():
        schemas[name]["examples"] = examples
    components["schemas"] = dict(sorted(schemas.items()))
    document["webhooks"] = webhooks.operations()
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
            response.setdefault("headers", {}).update(headers(REQUEST_ID, NOSNIFF))
        operation["responses"] = responses
    return document


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without null: a parameter outside a JSON body cannot be null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    kind: dict[str, Any] = kinds[0]
    return {name: value for name, value in schema.items() if name != "anyOf"} | kind
