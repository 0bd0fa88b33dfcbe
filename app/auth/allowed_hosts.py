"""Host names that an open service on a loopback address answers: protection from DNS rebinding.

An attacker can point the name of a web site at 127.0.0.1. The browser then takes the pages of that
site for the service's own pages: they may read and change everything. Their requests still carry
the name of the site as Host. RFC 9110 (7.4, 15.5.20) recommends 421 for such a request.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from app.config.settings import ANY, Settings
from app.errors import Misdirected

HEADER: Final = b"host"
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


class AllowedHosts:
    """The names of this machine and those of `MYNET_ALLOWED_HOSTS`, on any port.

    If the service is not open on a loopback address, every name is allowed.
    """

    def __init__(self, settings: Settings) -> None:
        names = settings.extra_hosts
        self.allows_any = not settings.is_open_on_loopback or ANY in names
        self._names = LOOPBACK_NAMES.union(names)
        self.allows = lru_cache(1024)(self._allows)

    def _allows(self, host: bytes) -> bool:
        """Return whether this value of the Host header is allowed."""
        return self.allows_any or _without_port(host.decode("latin-1").lower()) in self._names

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise Misdirected if the request is for a host of another name.

        Every browser sends a Host. A request without one, or with an empty one, comes from another
        program, and passes.
        """
        for name, value in headers:
            if name == HEADER and value and not self.allows(value):
                raise Misdirected(
                    f"This service does not answer for the host {value.decode('latin-1')!r:.100}. "
                    "Use localhost, or add the name to MYNET_ALLOWED_HOSTS."
                )


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and not port.strip("0123456789") else host
