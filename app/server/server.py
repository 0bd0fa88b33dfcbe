"""uvicorn server: start-up checks and configuration."""

import logging
import socket
from collections.abc import Callable
from contextlib import nullcontext
from typing import Final

import uvicorn

from app.config.settings import PREFIX, Settings
from app.net import DeviceUnavailable, pick_device
from app.server.displayed_settings import displayed_settings
from app.server.protocol import Protocol
from app.server.shutdown import GRACE_SECONDS
from app.startup import StartupError, prepare_service
from app.telemetry import worker_metrics

# Seconds for which a worker process may not answer its parent, because imports hold the GIL.
# uvicorn would replace a worker that it takes for dead, which adds to the load.
WORKER_STARTUP_TIMEOUT: Final = 30
log = logging.getLogger(__name__)


def run(settings: Settings, announce: Callable[[Settings], None] = lambda _: None) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are answered first.

    `announce` is called when all is prepared, before the server listens.

    Raises one of `app.startup.STARTUP_ERRORS`, before anything is changed where that is possible.
    """
    log.debug("settings: %s", _format_settings(settings))
    _check_port(settings)
    _check_device("DEVICE", settings.device)
    _check_device("TRAIN_DEVICE", settings.effective_train_device)
    prepare_service(settings)
    announce(settings)
    multiple_workers = settings.workers > 1
    with (
        worker_metrics.worker_metrics_dir(settings.metrics_dir)
        if multiple_workers
        else nullcontext()
    ):
        _serve(settings)


def _serve(settings: Settings) -> None:
    uvicorn.run(
        "app.main:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http=Protocol,
        loop="asyncio",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=WORKER_STARTUP_TIMEOUT,
    )


def _check_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            address = f"{PREFIX}HOST={settings.host}, {PREFIX}PORT={settings.port}"
            raise StartupError(
                f"The server cannot listen on {address}: {error}. Choose another address or port."
            ) from error


def _check_device(name: str, device: str) -> None:
    try:
        pick_device(device)
    except DeviceUnavailable as error:
        raise StartupError(f"{PREFIX}{name}: {error}") from error


def _format_settings(settings: Settings) -> str:
    values = displayed_settings(settings)
    return " ".join(f"{PREFIX}{name.upper()}={value}" for name, value in values.items())
