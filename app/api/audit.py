"""A line for every change that was asked for: who, what, from where, and what became of it.

What enters: a request, and the status of its answer. What leaves: a line in the log, with the
request's id as every line. This module does not know what is a change, nor who may make one.
"""

import logging
from typing import Any, Final

from starlette.types import Scope

from app.api.access import path_of
from app.database.tables import Key
from app.telemetry import logs

NOTED: Final = "audit_who"
ANONYMOUS: Final = "anonymous"
log = logging.getLogger(logs.AUDIT)


def note(state: Any, key: Key | None) -> None:
    """Let what becomes of this request be told, when it is answered."""
    setattr(state, NOTED, f"key {key.id} ({key.name})" if key else ANONYMOUS)


def tell(scope: Scope, status: int) -> None:
    """Tell of a request that was noted."""
    who = scope.get("state", {}).get(NOTED)
    if who is None:
        return
    method, path = scope["method"], path_of(scope)
    address = scope["client"][0] if scope.get("client") else "-"
    told = {"who": who, "method": method, "path": path, "status": status, "from": address}
    words = "%s %s %d by %s from %s"
    log.info(words, method, path, status, who, address, extra=logs.known(**told))
