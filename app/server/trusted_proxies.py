"""The proxies whose headers count: those of uvicorn's variable `FORWARDED_ALLOW_IPS`."""

import os
from collections.abc import Callable
from typing import Final

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

VARIABLE: Final = "FORWARDED_ALLOW_IPS"
LOOPBACK: Final = "127.0.0.1"


def proxy_check() -> Callable[[str | None], bool]:
    """Return a function that reports whether uvicorn trusts the proxy at an address."""

    async def no_app(*_: object) -> None:
        """Do nothing: only the middleware's parser is needed."""

    hosts = os.environ.get(VARIABLE, LOOPBACK)
    return ProxyHeadersMiddleware(no_app, hosts).trusted_hosts.__contains__
