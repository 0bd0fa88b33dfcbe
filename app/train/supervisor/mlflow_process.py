"""Process that logs jobs to MLflow, started by the supervisor.

MLflow's own environment variables configure it. It is a separate process so that the server never
imports MLflow.
"""

import importlib.util
import logging
import os
import subprocess
import time
from typing import Final

from app import subprocesses
from app.config.settings import Settings

URI: Final = "MLFLOW_TRACKING_URI"
RETRY_INTERVAL: Final = 30.0
# Defaults for variables that are not set: time-outs of seconds instead of minutes, permission to
# use a file store, and no telemetry.
DEFAULTS: Final = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
log = logging.getLogger(__name__)


def is_enabled() -> bool:
    return bool(os.environ.get(URI))


def is_installed() -> bool:
    return importlib.util.find_spec("mlflow") is not None


class Tracker:
    """The MLflow process, if MLflow is enabled. Used by one thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: subprocess.Popen[str] | None = None
        self._start_at = 0.0

    def ensure_running(self) -> None:
        """Start the process if it does not run. After a crash, wait for `RETRY_INTERVAL`."""
        if not is_enabled() or (self.process and self.process.poll() is None):
            return
        if time.monotonic() >= self._start_at:
            self._start_at = time.monotonic() + RETRY_INTERVAL
            self.end()
            line = self.settings.model_dump_json()
            module = "app.mlflow_tracking.worker"
            self.process = subprocesses.start(module, line, environment=DEFAULTS)
            log.info("MLflow process started: pid=%d", self.process.pid)

    def end(self) -> None:
        """Stop the process if it runs."""
        if self.process:
            subprocesses.end(self.process)
            self.process = None
            self._start_at = 0.0
