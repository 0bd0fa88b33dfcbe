"""Checks of a request's version, Host and Transfer-Encoding, which the parser does not make.

A proxy in front of this service may read such a request differently. Then it takes the body of one
request for the next request (request smuggling), or passes on the wrong host.
"""

from collections.abc import Iterable

from app.errors import HttpVersionNotSupported, MalformedRequest, TransferEncodingNotSupported
from app.server.raw_response import Header


def check_head(version: str, headers: Iterable[Header]) -> None:
    """Check a request with these headers, whose names are in lower case.

    Raises MalformedRequest, HttpVersionNotSupported, TransferEncodingNotSupported.
    """
    host_count, codings = 0, b""
    for name, value in headers:
        if name == b"host":
            host_count += 1
        elif name == b"transfer-encoding":
            codings += b"," + value
    if version != "1.1":
        _check_version(version)
    if host_count != 1 and (host_count or version == "1.1"):
        raise MalformedRequest(
            f"The request has {host_count} Host headers. Send one (RFC 9112, section 3.2)."
        )
    if codings:
        _check_codings(codings[1:])


def _check_version(version: str) -> None:
    if version == "0.9":
        raise MalformedRequest("The request line has no version, or HTTP/0.9. Send HTTP/1.1.")
    if version != "1.0":
        raise HttpVersionNotSupported(f"HTTP/{version} is not supported. Send HTTP/1.1.")


def _check_codings(codings: bytes) -> None:
    """Check that the body is chunked and nothing else (RFC 9112, sections 6.1 and 6.3)."""
    if codings.strip().lower() == b"chunked":
        return
    text = codings.decode("latin-1").strip()
    if codings.rpartition(b",")[2].strip().lower() == b"chunked":
        raise TransferEncodingNotSupported(
            f"Transfer-Encoding: {text:.100} is not supported. Send the body chunked alone."
        )
    raise MalformedRequest(
        f"Transfer-Encoding: {text:.100} does not end with chunked, so that the length of the body "
        "is not certain. Send it chunked."
    )
