"""What both clients tell httpx2 about the service.

What enters: an address, a key, and seconds. What leaves: httpx2's own arguments. This module does
not know whether somebody waits.
"""

from typing import Final, TypedDict

import httpx2

ADDRESS: Final = "http://127.0.0.1:8000"
TIMEOUT: Final = 60.0  # over the 15 s between signs of life in a stream of events
CONNECT: Final = 10.0
ATTEMPTS: Final = 8


class Connection(TypedDict):
    base_url: str
    headers: dict[str, str]
    timeout: httpx2.Timeout


def connection(url: str, api_key: str | None, timeout: float) -> Connection:
    """Return the arguments of `httpx2.Client` and `httpx2.AsyncClient`."""
    return Connection(
        base_url=url,
        headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
        timeout=httpx2.Timeout(timeout, connect=min(timeout, CONNECT)),
    )
