"""Access log and audit log: one line for each request, one line for each change."""

import asyncio
import logging
import re
import time
from collections.abc import Iterable, Iterator
from contextvars import Context
from typing import Any, Final

from starlette.types import Scope

from app.api.client_address import client_address
from app.database.tables import Key
from app.telemetry import logs
from app.telemetry.metrics import Metrics, Route

HEADER: Final = b"x-request-id"
# Key in the ASGI scope: fields that the route adds to the log line of its request.
LOG_FIELDS: Final = "mynet.known"
NO_FIELDS: Final[logs.LogFields] = {}
MAX_PATH_LENGTH: Final = 256
VALID_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")
TEMPLATE: Final = "%s %s %d %.1f ms"  # method, path, status, duration
# Request id, route, method, path, status, seconds, fields.
Response = tuple[str, Route, str, str, int, float, logs.LogFields]
log = logging.getLogger(logs.ACCESS_LOGGER)
audit_log = logging.getLogger(logs.AUDIT_LOGGER)


def request_id_from(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the request id that the client sent, or a new one."""
    return sent_request_id(headers) or logs.new_request_id()


def sent_request_id(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the request id that the client sent, or None."""
    for name, value in headers:
        if name == HEADER and VALID_REQUEST_ID.fullmatch(value):
            return bytes(value)
    return None


def loggable_path(scope: Scope) -> str:
    """Return the path as it was sent, truncated if it is long.

    A decoded path could contain blanks and line breaks that forge parts of the log line.
    """
    path = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
    return path if len(path) <= MAX_PATH_LENGTH else f"{path[:MAX_PATH_LENGTH]}…"


class AccessLog:
    """Logs and counts all responses of one turn of the event loop together.

    A line that is logged between other work takes three times as long.
    """

    def __init__(self, metrics: Metrics | None = None) -> None:
        self.metrics = metrics or Metrics()
        self._pending: list[Response] = []
        self._context = Context()  # not the context of the first request of a turn

    def add(
        self,
        request_id: str,
        route: Route,
        method: str,
        path: str,
        status: int,
        started: float,
        fields: logs.LogFields = NO_FIELDS,
    ) -> None:
        """Record one response; `started` is a time of `time.perf_counter`."""
        seconds = time.perf_counter() - started
        self._pending.append((request_id, route, method, path, status, seconds, fields))
        if len(self._pending) == 1:
            asyncio.get_running_loop().call_soon(self._log, context=self._context)

    def _log(self) -> None:
        pending, self._pending = self._pending, []
        for _, route, _, _, status, seconds, _ in pending:
            self.metrics.request(route, status, seconds)
        if not log.isEnabledFor(logging.INFO):
            return
        if handler := logs.only_handler(log):
            handler.write_lines(_records(pending))
            return
        for request_id, _, *args, seconds, fields in pending:
            logs.request_id.set(request_id)
            log.info(TEMPLATE, *args, 1000 * seconds, extra={"known": fields})


def _records(responses: Iterable[Response]) -> Iterator[logging.LogRecord]:
    """Yield the same record for each response, changed: making one takes the longest."""
    record = log.makeRecord(log.name, logging.INFO, "", 0, TEMPLATE, (), None)
    for request_id, _, *args, seconds, fields in responses:
        logs.request_id.set(request_id)
        record.args, vars(record)["known"] = (*args, 1000 * seconds), fields
        yield record


ACTOR: Final = "audit_who"
ANONYMOUS: Final = "anonymous"


def mark(state: Any, key: Key | None) -> None:
    """Mark a request for the audit log, which is written when the request is answered."""
    setattr(state, ACTOR, f"key {key.id} ({key.name})" if key else ANONYMOUS)


def write_audit(scope: Scope, status: int) -> None:
    """Write the audit line of a marked request."""
    actor = scope.get("state", {}).get(ACTOR)
    if actor is None:
        return
    method, path = scope["method"], loggable_path(scope)
    address = client_address(scope) or "-"
    fields = {"who": actor, "method": method, "path": path, "status": status, "from": address}
    template = "%s %s %d by %s from %s"
    audit_log.info(
        template, method, path, status, actor, address, extra=logs.extra_fields(**fields)
    )
