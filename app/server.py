"""uvicorn around the app.

What enters: settings. What leaves: a server, until a signal ends it. This module does not know of
routes.
"""

import logging
from typing import Final

import uvicorn
from sqlalchemy.engine import make_url

from app.net import pick_device
from app.settings import PREFIX, Settings
from app.start import prepare

GRACE: Final = 30
log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; what is under way is answered first.

    Raises what is in CANNOT_SERVE.
    """
    log.info("settings: %s", _shown(settings))
    pick_device(settings.device)
    pick_device(settings.effective_train_device)
    prepare(settings)
    uvicorn.run(
        "app.main:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )


def _shown(settings: Settings) -> str:
    shown = settings.model_dump()
    if settings.database_url:
        shown["database_url"] = make_url(settings.database_url).render_as_string(hide_password=True)
    return " ".join(f"{PREFIX}{name.upper()}={value}" for name, value in shown.items())
