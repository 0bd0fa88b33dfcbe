"""Who asks, whether they may, and how often.

What enters: headers, and an address. What leaves: the key that was sent, or a refusal. This module
does not know of routes: which scope each needs is said beside it, by the aliases in `services`.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from app.auth import keys
from app.auth.key_cache import KeyCache
from app.auth.keys import Scope
from app.config.settings import Settings
from app.database.tables import Key
from app.errors import Forbidden, Unauthenticated

HEADER: Final = b"x-api-key"
FORWARDED: Final = b"x-forwarded-for"
BEARER: Final = b"bearer "
HINT: Final = "Send a key as `Authorization: Bearer …` or as `X-API-Key`."
NETWORK: Final = 64  # bits of an IPv6 address that one customer of a provider has at least


class AccessControl:
    """Lets requests pass, by `MYNET_AUTH` and `MYNET_RATE_LIMIT`."""

    def __init__(self, settings: Settings, key_cache: KeyCache) -> None:
        self.auth, self.key_cache = settings.effective_auth, key_cache
        self.rate_limiter = None
        if settings.rate_limit:
            from app.auth.rate_limit import RateLimiter

            self.rate_limiter = RateLimiter(settings.rate_limit)

    @property
    def predictions_are_public(self) -> bool:
        """Return whether predictions are open to all, as often as they like."""
        return self.auth != "keys" and self.rate_limiter is None

    def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> Key | None:
        """Return the key that was sent, where keys are looked at and it is one."""
        return None if self.auth == "none" else self.key_cache.find(_key_from_headers(headers))

    def authorize(self, key: Key | None, address: str, required_scope: Scope | None) -> None:
        """Authorize a request that needs this scope, or any key for None.

        Raises RateLimited, Unauthenticated, Forbidden.
        """
        if self.rate_limiter:
            self.rate_limiter.hit(f"key {key.id}" if key else _rate_limit_key(address))
        if self.auth == "none" or (self.auth == "predict" and required_scope is Scope.PREDICT):
            return
        requirement = f"a key with the scope {required_scope}" if required_scope else "a key"
        if key is None:
            raise Unauthenticated(
                f"This needs {requirement}, and none that is valid was sent. {HINT}"
            )
        if not keys.allows(key, required_scope):
            scopes = ", ".join(key.scopes)
            raise Forbidden(f"This needs {requirement}; key {key.id} ({key.name}) has {scopes}.")


def _key_from_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return what was sent as a key. A proxy may want `Authorization` for itself: ours goes first.

    An empty one is none: whoever fills in a variable that is not set sends that.
    """
    bearer = b""
    for name, value in headers:
        if name == HEADER and value:
            return value
        if name == b"authorization" and value[: len(BEARER)].lower() == BEARER:
            bearer = value[len(BEARER) :].strip()
    return bearer


@lru_cache(4096)
def _rate_limit_key(address: str) -> str:
    """Return what is counted for an address: one customer has many of IPv6."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:  # a socket that is no network's
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or ip_network((parsed, NETWORK), strict=False))
