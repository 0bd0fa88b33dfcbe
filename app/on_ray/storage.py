"""Storage of Ray Train runs outside the state folder, through pyarrow."""

import logging
import threading
from contextlib import closing, suppress

from pyarrow.fs import FileSelector, FileSystem, FileType

from app.config.settings import Settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.errors import NotReady
from app.startup import StartupError
from app.telemetry.logs import redact
from app.train.jobs.job import Status

log = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """Raise StartupError if Ray Train could not use the storage: every job would fail."""
    try:
        if settings.ray_storage:
            FileSystem.from_uri(settings.ray_storage)
    except (ValueError, OSError) as error:
        raise StartupError(redact(f"MYNET_RAY_STORAGE cannot be used: {error}")) from error


def delete_finished_runs(settings: Settings) -> None:
    """Start to delete the runs of final jobs, in a thread, because a storage can hang."""
    if settings.ray_storage:
        threading.Thread(
            target=_sweep, args=(settings, settings.ray_storage), name="sweep", daemon=True
        ).start()


def _sweep(settings: Settings, storage: str) -> None:
    try:
        files, folder = FileSystem.from_uri(storage)
        with closing(Database(settings.effective_database_url)) as database:
            _remove_ended(files, folder, JobStore(database))
    except (NotReady, OSError) as error:
        log.error("runs could not be deleted from MYNET_RAY_STORAGE, retrying later: %s", error)


def _remove_ended(files: FileSystem, folder: str, store: JobStore) -> None:
    for entry in files.get_file_info(FileSelector(folder, allow_not_found=True)):
        job = store.job(entry.base_name) if entry.type is FileType.Directory else None
        if job and Status(job.status).is_final:
            # A job that ends late may still write; the next clean-up deletes what remains.
            with suppress(FileNotFoundError):
                files.delete_dir(entry.path)
