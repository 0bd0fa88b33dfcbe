"""What runs of Ray Train keep beside the state folder, perhaps where only pyarrow reaches.

What enters: settings. What leaves: nothing of jobs that have ended; what is not a job's stays. This
module does not know what is kept.
"""

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
    """Raises StartupError where Ray Train could not use it: each job would fail by that."""
    try:
        if settings.ray_storage:
            FileSystem.from_uri(settings.ray_storage)
    except (ValueError, OSError) as error:
        raise StartupError(redact(f"MYNET_RAY_STORAGE cannot be used: {error}")) from error


def delete_finished_runs(settings: Settings) -> None:
    """Begin to remove what nobody needs any more. A storage that hangs shall hold nobody up."""
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
        log.error("what ended jobs left in MYNET_RAY_STORAGE stays for now: %s", error)


def _remove_ended(files: FileSystem, folder: str, store: JobStore) -> None:
    for entry in files.get_file_info(FileSelector(folder, allow_not_found=True)):
        job = store.job(entry.base_name) if entry.type is FileType.Directory else None
        if job and Status(job.status).is_final:
            # Who ends late may still write there: the next sweep finds what this one leaves.
            with suppress(FileNotFoundError):
                files.delete_dir(entry.path)
