"""Connection settings that both clients pass to httpx2."""

from typing import Final, TypedDict

import httpx2

ADDRESS: Final = "http://127.0.0.1:8000"
TIMEOUT: Final = 60.0  # longer than the 15 s between heartbeats of an event stream
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
