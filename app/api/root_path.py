"""Path prefix of the service behind a proxy or in another app (ASGI's `root_path`).

Three sources may know it: the server, if the app is mounted in another one; the header
X-Forwarded-Prefix of a trusted proxy; and `MYNET_ROOT_PATH`, which counts if there is no header. A
proxy may strip the prefix from the path or pass it on.
"""

import re
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.config import validators
from app.server.protocol import CLIENT
from app.server.trusted_proxies import proxy_check

HEADER: Final = b"x-forwarded-prefix"


def route_path(scope: Scope) -> str:
    """Return the path below the prefix, which routes and protocols know."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class RootPath:
    """Sets `root_path`, and adds it to each `Location` that is a path of this service.

    Afterwards `path` begins with `root_path`, as ASGI requires.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app, self.root_path = app, root_path
        self._is_trusted_proxy = proxy_check()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        outer = self._forwarded(scope) or self.root_path
        mounted = scope.get("root_path", "").rstrip("/")
        prefix = outer + mounted
        if not prefix:
            await self.app(scope, receive, send)
            return
        path = _below(_below(scope["path"], outer), mounted)
        scope.update(root_path=prefix, path=prefix + path)

        async def send_location(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", [])
                message["headers"] = [_with_prefix(header, prefix) for header in headers]
            await send(message)

        await (self.app if path else _redirect_to_page)(scope, receive, send_location)

    def _forwarded(self, scope: Scope) -> str:
        """Return the prefix that a trusted proxy reports; each proxy of a chain adds its own."""
        values = [value for name, value in scope["headers"] if name == HEADER]
        if not values or not self._is_trusted_proxy(_peer(scope)):
            return ""
        parts = b",".join(values).decode("latin-1").split(",")
        prefix = "".join(part.strip().rstrip("/") for part in parts)
        return prefix if re.fullmatch(validators.ROOT_PATH, prefix, re.ASCII) else ""


def _peer(scope: Scope) -> str | None:
    """Return the address of the connection; other servers than MyNet's report only the client's."""
    extension: dict[str, Any] = (scope.get("extensions") or {}).get(CLIENT, {})
    client: tuple[str, int] | None = scope.get("client")
    return extension.get("address", client and client[0])


def _below(path: str, prefix: str) -> str:
    """Return the path without the prefix, if it has it."""
    return path.removeprefix(prefix) if path == prefix or path.startswith(f"{prefix}/") else path


def _with_prefix(header: tuple[bytes, bytes], prefix: str) -> tuple[bytes, bytes]:
    name, value = header
    is_path = name.lower() == b"location" and value.startswith(b"/")
    return (name, prefix.encode() + value) if is_path else header


async def _redirect_to_page(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Redirect to the prefix with a slash at its end, which the page's relative links need."""
    headers = [(b"location", b"/"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body"})
