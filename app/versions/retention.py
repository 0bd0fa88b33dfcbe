"""Retention of versions: deletes the oldest ones beyond `MYNET_KEEP_VERSIONS`.

The versions of a sweep are kept until it has ended, because they are compared then.
"""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager

from app.config.settings import Settings
from app.database.database import Database
from app.database.sweeps import SweepStore
from app.errors import NotReady
from app.versions.registry import Registry

log = logging.getLogger(__name__)


def delete_old_versions(registry: Registry, sweep_store: SweepStore, keep_versions: int) -> None:
    """Delete the oldest versions, and keep `keep_versions` of them.

    These are kept in addition: the versions that `Registry.prune` protects, those of unfinished
    sweeps, and the best of the newest `keep_versions` sweeps. What cannot be deleted now, because
    the disk, the database or the bucket is unavailable, stays until the next call.
    """
    with _kept_if_unavailable():
        registry.prune(keep_versions, protected_jobs=sweep_store.protected_jobs(keep_versions))


def apply_retention(settings: Settings, registry: Registry) -> None:
    """Delete old versions by `MYNET_KEEP_VERSIONS`, for a caller without an open database."""
    with _kept_if_unavailable(), closing(Database(settings.effective_database_url)) as database:
        delete_old_versions(registry, SweepStore(database), settings.keep_versions)


@contextmanager
def _kept_if_unavailable() -> Iterator[None]:
    try:
        yield
    except (NotReady, OSError) as error:  # the version that came is stored, and must not seem lost
        log.error("old versions could not be deleted: error=%s", error)
