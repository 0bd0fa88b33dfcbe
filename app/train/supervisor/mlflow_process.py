"""The process that tells MLflow of jobs, beside whoever supervises them.

What enters: MLflow's own variables, in the environment. What leaves: a process, as long as it is
wanted. This module does not know what is told, nor how: the server never imports MLflow.
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
# Unless they are set: patience for seconds and not for minutes, the store in plain files that was
# asked for, and nothing told to others.
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
    """The process, if it is wanted; used by one thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: subprocess.Popen[str] | None = None
        self._start_at = 0.0

    def ensure_running(self) -> None:
        """See to it that the process runs; one that died is started again after a while."""
        if not is_enabled() or (self.process and self.process.poll() is None):
            return
        if time.monotonic() >= self._start_at:
            self._start_at = time.monotonic() + RETRY_INTERVAL
            self.end()
            line = self.settings.model_dump_json()
            self.process = subprocesses.start("app.mlflow_tracking.worker", line, **DEFAULTS)
            log.info("jobs are told to MLflow by process %d", self.process.pid)

    def end(self) -> None:
        """End the process, where there is one."""
        if self.process:
            subprocesses.end(self.process)
            self.process = None
            self._start_at = 0.0
