"""Signals beside those that stop the service.

SIGHUP reads the TLS certificate again, or stops the service together with its terminal.

With several worker processes uvicorn's supervisor handles the signal: it restarts them one after
the other, and each reads the certificate. The worker processes ignore it.
"""

import logging
import os
import signal
import ssl
import sys
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from app.config.settings import Settings

HANGUP: Final = getattr(signal, "SIGHUP", None)  # not on Windows
log = logging.getLogger(__name__)


def is_hangup_ignored() -> bool:
    """Return whether this process ignores SIGHUP. nohup starts it so."""
    return HANGUP is not None and signal.getsignal(HANGUP) is signal.SIG_IGN


def ignore_hangup() -> None:
    """Ignore SIGHUP, which a closed terminal sends to all processes of its foreground job.

    It would end a worker process with requests in flight. The parent sends SIGTERM.
    """
    if HANGUP is not None:
        signal.signal(HANGUP, signal.SIG_IGN)


def handle_hangup(config: uvicorn.Config, settings: Settings, *, ignore: bool) -> None:
    """Install the handler of SIGHUP in the process of the server.

    `ignore` is what `is_hangup_ignored` returned before uvicorn's supervisor was created, which
    installs a handler.
    """
    if HANGUP is None:
        return
    if ignore:
        ignore_hangup()
        return
    if sys.stdin is not None and sys.stdin.isatty():
        signal.signal(HANGUP, _stop)
        return

    def reload(_number: int, _frame: FrameType | None) -> None:
        _reload_certificate(config, settings)

    if settings.workers == 1:
        signal.signal(HANGUP, reload)


def remove_at_end(path: Path) -> None:
    """Remove a file when SIGTERM ends this process. uvicorn raises it again after its shutdown."""

    def end(number: int, _frame: FrameType | None) -> None:
        path.unlink(missing_ok=True)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)


def _stop(_number: int, _frame: FrameType | None) -> None:
    """Stop in order: the terminal of the service has been closed."""
    os.kill(os.getpid(), signal.SIGTERM)


def _reload_certificate(config: uvicorn.Config, settings: Settings) -> None:
    """Use the files for new connections; if they are not valid, keep the certificate."""
    if config.ssl is None or settings.tls_cert is None:
        log.info("SIGHUP received: no TLS certificate to read again")
        return
    try:
        config.ssl.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        log.error("TLS certificate not read again: file=%s error=%s", settings.tls_cert, error)
    else:
        log.info("TLS certificate read again: file=%s", settings.tls_cert)
