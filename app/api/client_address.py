"""IP address of the client, for the rate limit and the audit log.

uvicorn takes the address of a trusted proxy's X-Forwarded-For as it comes. A client that reaches
the service from the proxy's machine, or through a proxy that appends to the header, could write any
text there: a forged audit line, or a new name for the rate limit with each request.
"""

from functools import lru_cache
from ipaddress import ip_address

from starlette.types import Scope

from app.server.protocol import CLIENT


def client_address(scope: Scope) -> str:
    """Return the address that a trusted proxy reports, or else the address of the connection.

    Returns an empty string if neither is an IP address, for example on a Unix socket.
    """
    reported: tuple[str, int] | None = scope.get("client")
    connection = (scope.get("extensions") or {}).get(CLIENT, {})
    return _parsed(reported[0] if reported else "") or _parsed(connection.get("address", ""))


@lru_cache(4096)
def _parsed(text: str) -> str:
    """Return an address in its usual form, without a zone, which may be any text."""
    try:
        return str(ip_address(text.partition("%")[0]))
    except ValueError:
        return ""
