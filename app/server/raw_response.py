"""Serialized HTTP/1.1 responses, for answers that do not come from the app."""

import json
from collections.abc import Iterable
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.errors import ServiceError

PROBLEM: Final = (b"content-type", b"application/problem+json")
# On every response: browsers must not guess another type than Content-Type.
NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
NOSNIFF_LINE: Final = b"%b: %b\r\n" % NOSNIFF
Header = tuple[bytes, bytes]


def serialize_response(
    status: int, headers: Iterable[Header], content: bytes, *, is_last: bool
) -> bytes:
    """Return a response as bytes. `is_last` announces that the connection closes."""
    lines = [STATUS_LINE[status], NOSNIFF_LINE]
    for name, value in headers:
        lines += name, b": ", value, b"\r\n"
    if is_last:
        lines.append(b"connection: close\r\n")
    return b"".join((*lines, b"\r\n", content))


def serialize_error(error: ServiceError, request_id: bytes, headers: Iterable[Header]) -> bytes:
    """Return an error as RFC 9457 problem details, in the last response of its connection."""
    content = json.dumps(error.problem_details(request_id.decode())).encode()
    response_headers = [*headers, PROBLEM, (b"x-request-id", request_id)]
    response_headers.append((b"content-length", b"%d" % len(content)))
    if error.retry_after is not None:
        response_headers.append((b"retry-after", b"%d" % error.retry_after))
    return serialize_response(error.status, response_headers, content, is_last=True)
