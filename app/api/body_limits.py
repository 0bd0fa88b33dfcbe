"""Maximum size of a request body: one for all routes, and others for routes that spool to disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import Scope

from app.api.root_path import route_path


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The limit in bytes, and those of the paths whose POST spools its body to disk."""

    default: int
    spooled: Mapping[str, int] = field(default_factory=dict)

    def is_spooled(self, scope: Scope) -> bool:
        """Return whether the route of a request writes its body to disk."""
        return scope["method"] == "POST" and route_path(scope) in self.spooled

    def max_bytes(self, scope: Scope) -> int:
        """Return the maximum size of the body of a request in bytes."""
        return self.spooled[route_path(scope)] if self.is_spooled(scope) else self.default
