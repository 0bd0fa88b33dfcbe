"""Cross-site request forgery (CSRF) protection for a service without keys.

A page of another site can send requests from the user's browser, but not a key that it does not
have. So this check is needed only if no key is required, for example on loopback, where every site
that the user visits reaches the service. It covers changes, and predictions, whose work is not
free.

The method is that of Go's `net/http.CrossOriginProtection` (Go 1.25): it reads Sec-Fetch-Site
(Fetch Metadata, W3C), or else compares Origin with Host. Clients that are not browsers send none of
these and pass.
"""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from app.errors import Forbidden

# Without these headers, every request passes.
BROWSER_HEADERS: Final = (b"origin", b"sec-fetch-site")
TRUSTED_FETCH_SITES: Final = ("same-origin", "none")


def check(headers: Headers, allowed_origins: Collection[str]) -> None:
    """Check that a request comes from no other site. Raises Forbidden.

    Pages of this service and of `allowed_origins` pass.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin in allowed_origins or "*" in allowed_origins:
        return
    if site in TRUSTED_FETCH_SITES or (
        site is None and (origin is None or _host(origin) == headers.get("host"))
    ):
        return
    raise Forbidden(
        f"The request comes from a page of another site: {origin or site}. Add its origin to "
        "MYNET_CORS_ORIGINS, or require a key with MYNET_AUTH=keys."
    )


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
