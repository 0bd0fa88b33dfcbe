"""Whether it is a page of another site that has a browser ask for a change.

What enters: headers, and the origins that may ask. What leaves: nothing, or a refusal. This module
does not know of keys: a page cannot send one that it does not have, and so this is asked only where
none is needed, as on loopback, where each site that somebody visits reaches the service.

The method is that of Go's `net/http.CrossOriginProtection` (Go 1.25): what the browser says of the
site (Fetch Metadata, W3C), and where it says nothing, the page's origin beside the host. Who is no
browser sends neither, and passes.
"""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from app.errors import Forbidden

TRUSTED_FETCH_SITES: Final = ("same-origin", "none")


def check(headers: Headers, allowed_origins: Collection[str]) -> None:
    """Refuse pages that are neither of this service nor of the allowed origins.

    Raises Forbidden.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin in allowed_origins or "*" in allowed_origins:
        return
    if site in TRUSTED_FETCH_SITES or (
        site is None and (origin is None or _host(origin) == headers.get("host"))
    ):
        return
    raise Forbidden(
        f"A page of another site ({origin or site}) may change nothing here: name its origin in "
        "MYNET_CORS_ORIGINS, or have a key wanted (MYNET_AUTH)."
    )


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
