"""uvicorn server: start-up checks and configuration."""

import logging
import os
import ssl
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Final

import uvicorn
from uvicorn.supervisors import Multiprocess

from app.config.settings import PREFIX, Settings
from app.devices import DeviceUnavailable, check_device, is_torch_installed, pick_device
from app.server import listening, signals, trusted_proxies
from app.server.displayed_settings import displayed_settings
from app.server.protocol import Protocol
from app.server.shutdown import GRACE_SECONDS
from app.startup import StartupError, prepare_service
from app.telemetry import worker_metrics

# Seconds for which a worker process may not answer its parent, because imports hold the GIL.
# uvicorn would replace a worker that it takes for dead, which adds to the load.
WORKER_STARTUP_TIMEOUT: Final = 30
STARTUP_FAILURE: Final = 3  # exit status, as uvicorn's own
log = logging.getLogger(__name__)


def run(settings: Settings, announce: Callable[[Settings], None] = lambda _: None) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are answered first.

    `announce` is called when all is prepared, before the server listens.

    Raises one of `app.startup.STARTUP_ERRORS`, before anything is changed where that is possible.
    """
    log.debug("settings: %s", _format_settings(settings))
    _check_tls(settings)
    _check_port(settings)
    _check_device("DEVICE", settings.device, pick_device)
    if is_torch_installed():
        _check_device("TRAIN_DEVICE", settings.effective_train_device, check_device)
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
    if settings.uds:  # only programs of this machine can connect, such as the proxy
        os.environ.setdefault(trusted_proxies.VARIABLE, "*")
    config = _config(settings)
    server = uvicorn.Server(config)
    ignore_hangup = signals.is_hangup_ignored()
    with listening.bound_sockets(settings) as sockets, suppress(KeyboardInterrupt):
        log.info("listening: %s", " ".join(listening.urls(settings, sockets)))
        if settings.workers == 1:
            if settings.uds:
                signals.remove_at_end(settings.uds)
            signals.handle_hangup(config, settings, ignore=ignore_hangup)
            server.run(sockets=sockets)
        else:
            for bound in sockets:
                bound.set_inheritable(True)
            supervisor = Multiprocess(config, sockets=sockets)
            signals.handle_hangup(config, settings, ignore=ignore_hangup)
            supervisor.run()
    if settings.workers == 1 and not server.started:
        sys.exit(STARTUP_FAILURE)


def _config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        "app.main:create_served_app",
        factory=True,
        host=settings.hosts[0],
        port=settings.port,
        uds=str(settings.uds) if settings.uds else None,
        workers=settings.workers,
        http=Protocol,
        loop="asyncio",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=WORKER_STARTUP_TIMEOUT,
    )


def _check_port(settings: Settings) -> None:
    with listening.bound_sockets(settings):
        pass


def _check_tls(settings: Settings) -> None:
    if settings.tls_cert is None and settings.tls_key is None:
        return
    names = f"{PREFIX}TLS_CERT={settings.tls_cert}, {PREFIX}TLS_KEY={settings.tls_key}"
    if settings.tls_cert is None or settings.tls_key is None:
        raise StartupError(f"{names}: set both, as PEM files.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise StartupError(f"{names} cannot be used: {error}.") from error


def _check_device(name: str, device: str, check: Callable[[str], object]) -> None:
    try:
        check(device)
    except DeviceUnavailable as error:
        raise StartupError(f"{PREFIX}{name}: {error}") from error


def _format_settings(settings: Settings) -> str:
    values = displayed_settings(settings)
    return " ".join(f"{PREFIX}{name.upper()}={value}" for name, value in values.items())
