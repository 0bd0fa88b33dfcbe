"""Runtime of the service: what differs between uvicorn and Ray Serve.

Here is the one for uvicorn; `app.on_ray` defines the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.config import validators
from app.config.settings import Settings
from app.database.database import Database
from app.database.engine import absolute_database_url
from app.startup import prepare_service, prepare_worker
from app.telemetry import worker_metrics
from app.telemetry.worker_metrics import WorkerMetricsFile
from app.train.supervisor.supervisor import WORKER_MODULE
from app.versions.registry import Registry


@dataclass(frozen=True)
class Runtime:
    """What differs between uvicorn and Ray Serve.

    `trainer` is the module that runs one attempt at a job as a process, as `WORKER_MODULE` does.
    `clean_storage` deletes files that attempts left outside the state folder.
    """

    prepare: Callable[[Settings, Database], Registry]
    worker_metrics_file: Callable[[Path], WorkerMetricsFile | None]
    trainer: str
    clean_storage: Callable[[Settings], None]


UVICORN: Final = Runtime(
    prepare_worker, worker_metrics.open_for_worker, WORKER_MODULE, lambda _: None
)


def prepare_with_absolute_paths(settings: Settings) -> Settings:
    """Prepare a service whose processes run in other folders; return settings with absolute paths.

    Raises BadCheckpoint, StartupError.
    """
    changes: dict[str, object] = {
        "state_dir": settings.state_dir.absolute(),
        "data_dir": settings.data_dir.absolute(),
        "models_url": settings.models_url and validators.absolute_url(settings.models_url),
        "database_url": settings.database_url and absolute_database_url(settings.database_url),
    }
    settings = settings.model_copy(update=changes)
    prepare_service(settings)
    return settings
