"""Problem codes, from `app.errors` and the OpenAPI document."""

import inspect
from collections.abc import Iterator
from typing import Any, Final

from app import errors
from app.api.problem_details import HTTP_CODES
from app.config.settings import Settings
from app.main import create_app
from tools.reference.markdown import code_list, page, table

# Codes that come from the router, for which there is no class in `app.errors`.
ROUTER_CODES: Final = {
    "method_not_allowed": "The path exists, but not with this method; see the header `Allow`."
}
EVERY_ROUTE: Final = {errors.InternalError.code}
EVERY_GUARDED_ROUTE: Final = {
    error.code for error in (errors.Unauthenticated, errors.Forbidden, errors.RateLimited)
}


def problems_page() -> str:
    """Return the page of the problem codes."""
    classes = sorted(_error_classes(), key=lambda error: (error.status, error.code))
    rows = [(e.status, f"`{e.code}`", e.title, e.summary()) for e in classes]
    existing = {error.code for error in classes}
    for status, code in HTTP_CODES.items():
        if code not in existing:
            title = code.replace("_", " ").capitalize()
            rows.append((status, f"`{code}`", title, ROUTER_CODES[code]))
    operations = [*_operations(create_app(Settings()).openapi())]
    return page(
        [
            "# Problem codes",
            "Every error is `application/problem+json` ([RFC 9457]"
            "(https://www.rfc-editor.org/rfc/rfc9457)) with the fields `type`, `title`, `status`, "
            "`detail`, `code` and `request_id`, and `errors` if fields are invalid. A program can "
            "rely on `code`; `title` and `detail` are for people, and may change. Routes under "
            '`/v1` and `/v2` answer `{"error": "…"}`, with the same statuses.',
            "`Retry-After` comes with most answers of status 429 and 503: it is in seconds. "
            f"`{errors.ClientDisconnected.code}` occurs in logs and metrics alone.",
            table(("status", "code", "title", "when"), sorted(rows)),
            "## Codes of each route",
            f"Each route may also answer {code_list(EVERY_ROUTE)}, and each one that needs a scope "
            f"{code_list(EVERY_GUARDED_ROUTE)}. A wrong method is `method_not_allowed`. A `Host` "
            "that the service does not answer for is `misdirected` on every route.",
            table(("route", "scope", "codes"), operations),
        ]
    )


def _error_classes() -> Iterator[type[errors.ServiceError]]:
    for _, error in inspect.getmembers(errors, inspect.isclass):
        if issubclass(error, errors.ServiceError) and error is not errors.ServiceError:
            yield error


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield each route of the OpenAPI document, its scope and its codes."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            security: dict[str, list[str]] = (operation.get("security") or [{}])[0]
            scope = "none" if not security else ", ".join(*security.values()) or "any"
            codes = {*_codes(operation["responses"])} - EVERY_ROUTE - EVERY_GUARDED_ROUTE
            yield f"`{method.upper()} {path}`", scope, code_list(codes)


def _codes(responses: dict[str, Any]) -> Iterator[str]:
    for status, response in responses.items():
        if status.startswith(("4", "5")):
            for content in response["content"].values():
                yield from content["examples"]
