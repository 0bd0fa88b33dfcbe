"""Responses of routes in the OpenAPI document: errors, built from their classes; new resources."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from fastapi import APIRouter

from app.api.problem_details import MEDIA_TYPE
from app.api.query import UNKNOWN
from app.errors import (
    BodyTooLarge,
    ContentEncodingNotSupported,
    FieldError,
    Forbidden,
    InternalError,
    InvalidField,
    MalformedRequest,
    RateLimited,
    ServiceError,
    Unauthenticated,
)

Responses = dict[int | str, dict[str, Any]]
ErrorOrExample = type[ServiceError] | ServiceError
REQUEST_ID: Final = "0123456789abcdef"
# Errors that any route with access control can return.
ACCESS_ERRORS: Final = (Unauthenticated, Forbidden, RateLimited)
# Errors that any route that reads a body can return.
BODY_ERRORS: Final = (MalformedRequest, BodyTooLarge, ContentEncodingNotSupported)
HEADERS: Final = {
    401: ["WWW-Authenticate"],
    415: ["Accept-Encoding"],
    429: ["Retry-After"],
    503: ["Retry-After"],
}
SUMMARIES: Final = {error.code: error.summary() for error in ServiceError.__subclasses__()}


class Router(APIRouter):
    """A router whose `responses` hold for all its routes.

    FastAPI replaces a response of the router by that of the route with the same status.
    """

    def add_api_route(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        responses: Responses | None = None,
        **options: Any,
    ) -> None:
        merged = merge(self.responses, responses or {})
        super().add_api_route(path, endpoint, responses=merged, **options)


def merge(first: Responses, second: Responses) -> Responses:
    """Return the responses of both; errors of the same status become examples of one response."""
    common = first.keys() & second.keys()
    return first | second | {status: _both(first[status], second[status]) for status in common}


def error_responses(*errors: ErrorOrExample) -> Responses:
    """Return the error responses of a route, each described by its class or by an example.

    Every route can also return `InternalError`, and `InvalidField` for an unknown query parameter.
    """
    return _by_status(errors, MEDIA_TYPE, "Problem")


def plain_error_responses(*errors: ErrorOrExample) -> Responses:
    """Return the error responses of a route whose protocol has only the text `error`."""
    return _by_status(errors, "application/json", "Failure")


def invalid_field_example(field: str, message: str) -> InvalidField:
    """Return an example error for one invalid field."""
    return InvalidField(f"{field}: {message}.", errors=[FieldError(field, message)])


INVALID_LIMIT: Final = invalid_field_example("limit", "Input should be less than or equal to 1000")


def new_resource(parameter: str, *operations: str, field: str = "id") -> dict[str, Any]:
    """Return the response with a new resource, and its links to the operations on that.

    Their path `parameter` is the `field` of the resource.
    """
    parameters = {parameter: f"$response.body#/{field}"}
    links = {name: {"operationId": name, "parameters": parameters} for name in operations}
    return {"headers": headers("Location"), "links": links}


def headers(*names: str) -> dict[str, Any]:
    """Return references to headers that the OpenAPI document describes."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _by_status(errors: tuple[ErrorOrExample, ...], media_type: str, schema: str) -> Responses:
    instances = [error(error.summary()) if isinstance(error, type) else error for error in errors]
    if not any(isinstance(error, InvalidField) for error in instances):
        instances.append(invalid_field_example("epohcs", f"{UNKNOWN}: this route has none"))
    responses: Responses = {}
    for error in (*instances, InternalError(InternalError.summary())):
        example = {error.code: {"summary": error.title, "value": _example(error, schema)}}
        media = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "examples": example}
        response = {
            "description": _description(example),
            "headers": headers(*HEADERS.get(error.status, [])),
            "content": {media_type: media},
        }
        responses = merge(responses, {error.status: response})
    return responses


def _both(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return one response with the examples of two that have the same media type."""
    ((media_type, media),) = second["content"].items()
    examples = first["content"][media_type]["examples"] | media["examples"]
    content = {media_type: media | {"examples": examples}}
    return second | {"description": _description(examples), "content": content}


def _description(codes: Iterable[str]) -> str:
    return " ".join(f"`{code}`: {SUMMARIES[code]}" for code in codes)


def _example(error: ServiceError, schema: str) -> Any:
    if schema == "Failure":
        return {"error": error.detail}
    return error.problem_details(REQUEST_ID)
