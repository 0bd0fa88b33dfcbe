"""What browsers are told about pages of other origins (CORS).

What enters: origins. What leaves: Starlette's middleware around the app, or the app alone. This
module does not know of routes.
"""

from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

TENSORS: Final = "Inference-Header-Content-Length"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
SENT: Final = (
    "Authorization",
    "X-API-Key",
    "X-Request-ID",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    TENSORS,
)
SHOWN: Final = ("X-Request-ID", "Retry-After", "Location", "ETag", "Content-Disposition", TENSORS)


def around(app: ASGIApp, origins: list[str]) -> ASGIApp:
    """Let pages of these origins ask; no cookies, which nothing here looks at."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=SENT,
        expose_headers=SHOWN,
    )
