"""RFC 9457 problem details for every error; `/v1` and `/v2` use the error form of their protocols.

This covers domain errors, errors of FastAPI and Starlette, and unexpected exceptions.
"""

import errno
import logging
import re
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match

from app.api.root_path import route_path
from app.errors import (
    ClientDisconnected,
    ContentEncodingNotSupported,
    FieldError,
    InternalError,
    InvalidField,
    MalformedRequest,
    NotReady,
    ServiceError,
    drop_traceback,
    problem_details,
)
from app.telemetry import logs

MEDIA_TYPE: Final = "application/problem+json"
# Paths of protocols whose clients expect `error` in every response that is not a success.
PROTOCOL_PATHS: Final = re.compile(r"/v[12](/|$)")
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
HTTP_CODES: Final = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
MAX_FIELDS: Final = 10
MAX_NAME_LENGTH: Final = 100
STORAGE_ERRNOS: Final = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG,
    errno.EMFILE, errno.ENFILE,
}  # fmt: skip
log = logging.getLogger(__name__)


def response_for_exception(method: str, path: str, error: Exception) -> JSONResponse:
    """Return the response for a domain error, a storage failure, or an unexpected exception."""
    if isinstance(error, ServiceError):
        return response(path, error)
    if isinstance(error, OSError) and error.errno in STORAGE_ERRNOS:
        log.error("request failed: method=%s path=%s error=%s", method, path, error)
        return response(path, NotReady(f"The state folder cannot be used: {error.strerror}."))
    log.error("request failed: method=%s path=%s", method, path, exc_info=error)
    return response(path, InternalError(InternalError.summary()))


def install(app: FastAPI) -> None:
    """Install the handlers that answer every error of `app` as problem details."""
    app.add_exception_handler(ServiceError, _handle_exception)
    app.add_exception_handler(RequestValidationError, _handle_validation)
    app.add_exception_handler(HTTPException, _handle_http)
    app.add_exception_handler(ClientDisconnect, _handle_disconnect)
    app.add_exception_handler(OSError, _handle_exception)
    app.add_exception_handler(Exception, _handle_unexpected)


def response(path: str, error: ServiceError) -> JSONResponse:
    """Return the response for an error in the form of the path's protocol, and drop its traceback.

    The form is problem details, or `{"error": "…"}` under `/v1` and `/v2`.
    """
    drop_traceback(error)
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, ContentEncodingNotSupported):
        headers["Accept-Encoding"] = ", ".join(error.supported)
    return _response(path, error.problem_details(logs.request_id.get()), headers)


def invalid(errors: Sequence[Any]) -> ServiceError:
    """Return one error for all of pydantic's: the body is no JSON object, or fields are invalid.

    It lists at most `MAX_FIELDS` fields and truncates long names.
    """
    for error in errors:
        if error["type"] in ("json_invalid", "model_type", "model_attributes_type"):
            return MalformedRequest(
                f"The body is not a valid JSON object: {_end_sentence(error['msg'])}"
            )
    fields = [FieldError(_name(error["loc"]), _message(error)) for error in errors[:MAX_FIELDS]]
    detail = _end_sentence("; ".join(f"{field}: {message}" for field, message in fields))
    return InvalidField(detail, errors=fields)


async def _handle_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return response(route_path(request.scope), invalid(error.errors()))


async def _handle_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = HTTP_CODES.get(error.status_code, "malformed_request")
    title = code.replace("_", " ").capitalize()
    method, path = request.method, route_path(request.scope)
    root_path = request.scope.get("root_path", "")
    detail = {
        404: f"No route matches {method} {path}. See {root_path}/docs for all routes.",
        405: f"{method} is not allowed for {path}. The Allow header lists the allowed methods.",
    }.get(error.status_code, str(error.detail))
    request_id = logs.request_id.get()
    problem = problem_details(error.status_code, code, title, detail, request_id)
    headers = {**(error.headers or {})}
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return _response(path, problem, headers)


def _methods(request: Request) -> list[str]:
    """Return the methods of all routes that match the path; the router reports only the first."""
    routes = request.app.router.routes
    methods = {
        method for method in METHODS if _is_routed(routes, {**request.scope, "method": method})
    }
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _is_routed(routes: Sequence[BaseRoute], scope: dict[str, Any]) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in routes)


async def _handle_disconnect(request: Request, _error: Exception) -> JSONResponse:
    error = ClientDisconnected("The client disconnected before it had sent the whole request.")
    return response(route_path(request.scope), error)


async def _handle_exception(request: Request, error: Exception) -> JSONResponse:
    return response_for_exception(request.method, route_path(request.scope), error)


async def _handle_unexpected(request: Request, error: Exception) -> JSONResponse:
    """Answer an exception that no other handler takes, and announce the end of the connection.

    Starlette raises the exception again after the answer, and uvicorn then closes the connection. A
    client that is not told would lose the next request that it sends on it.
    """
    answer = response_for_exception(request.method, route_path(request.scope), error)
    if request.scope.get("http_version", "1.1").startswith("1"):  # HTTP/2 has no such header
        answer.headers["Connection"] = "close"
    return answer


def _response(path: str, problem: dict[str, Any], headers: dict[str, str]) -> JSONResponse:
    headers = {"X-Request-ID": problem["request_id"], **headers}
    if PROTOCOL_PATHS.match(path):
        return JSONResponse({"error": problem["detail"]}, problem["status"], headers)
    return JSONResponse(problem, problem["status"], headers, MEDIA_TYPE)


def _name(location: tuple[str | int, ...]) -> str:
    names = [str(part) for part in location if part not in ("body", "query", "path", "header")]
    return ".".join(names)[:MAX_NAME_LENGTH] or "body"


def _message(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown field"
    return str(error["msg"]).removeprefix("Value error, ")


def _end_sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
