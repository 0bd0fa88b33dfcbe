"""Authentication, authorization and rate limiting.

`app.api.dependencies` defines which scope each route requires.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from app.auth import keys
from app.auth.key_cache import KeyCache
from app.auth.key_usage import KeyUsage
from app.auth.keys import Scope
from app.config.settings import Settings
from app.database.tables import Key
from app.errors import Forbidden, Unauthenticated

HEADER: Final = b"x-api-key"
AUTHORIZATION: Final = b"authorization"
KEY_HEADERS: Final = frozenset((HEADER, AUTHORIZATION))
FORWARDED: Final = b"x-forwarded-for"
BEARER: Final = b"bearer "
HINT: Final = "Send a key as `Authorization: Bearer …` or as `X-API-Key`."
NETWORK: Final = 64  # bits of the smallest IPv6 network that a provider assigns to one customer


class AccessControl:
    """Authenticates, authorizes and rate-limits requests by `MYNET_AUTH` and `MYNET_RATE_LIMIT`."""

    def __init__(self, settings: Settings, key_cache: KeyCache) -> None:
        self.auth, self.key_cache = settings.effective_auth, key_cache
        self.key_usage = KeyUsage(key_cache)
        self.rate_limiter = None
        if settings.rate_limit:
            from app.auth.rate_limit import RateLimiter

            self.rate_limiter = RateLimiter(settings.rate_limit)

    @property
    def predictions_are_public(self) -> bool:
        """Return whether predictions need no key and have no rate limit."""
        return self.auth != "keys" and self.rate_limiter is None

    def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> Key | None:
        """Return the key of the request, or None if it has no valid one or none is needed."""
        if self.auth == "none":
            return None
        key = self.key_cache.find(_key_from_headers(headers))
        if key:
            self.key_usage.record(key)
        return key

    def authorize(self, key: Key | None, address: str, required_scope: Scope | None) -> None:
        """Check a request against the rate limit and the required scope; None means any key.

        Raises RateLimited, Unauthenticated, Forbidden.
        """
        if self.rate_limiter:
            self.rate_limiter.hit(f"key {key.id}" if key else _rate_limit_key(address))
        if self.auth == "none" or (self.auth == "predict" and required_scope is Scope.PREDICT):
            return
        requirement = (
            f"an API key with the scope {required_scope}" if required_scope else "an API key"
        )
        if key is None:
            raise Unauthenticated(
                f"This request requires {requirement}, but has no valid key. {HINT}"
            )
        if not keys.allows(key, required_scope):
            scopes = ", ".join(key.scopes)
            raise Forbidden(
                f"This request requires {requirement}, but the key {key.id} ({key.name}) has: "
                f"{scopes}. Use another key."
            )


def _key_from_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the key that the headers contain, or an empty one.

    X-API-Key takes precedence, because a proxy may use `Authorization` for itself. An empty
    X-API-Key is ignored: scripts send one if a variable is not set.
    """
    bearer = b""
    for name, value in headers:
        if name == HEADER and value:
            return value
        if name == AUTHORIZATION and value[: len(BEARER)].lower() == BEARER:
            bearer = value[len(BEARER) :].strip()
    return bearer


@lru_cache(4096)
def _rate_limit_key(address: str) -> str:
    """Return the identifier that is counted for an address: for IPv6, the customer's network."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:  # not a network socket
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or ip_network((parsed, NETWORK), strict=False))
