"""Which versions give way to newer ones.

The versions of a sweep stay until it has ended, since they are compared then.
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
    """Delete the oldest versions, so that `keep_versions` are left.

    Beside them stay those that `Registry.prune` leaves, those of the jobs of sweeps that have not
    ended, and the best of as many sweeps. If the database or the bucket cannot be reached, all stay
    until the next time.
    """
    with _kept_if_unavailable():
        registry.prune(keep_versions, protected_jobs=sweep_store.protected_jobs(keep_versions))


def apply_retention(settings: Settings, registry: Registry) -> None:
    """Delete old versions as `MYNET_KEEP_VERSIONS` says, for a caller without an open database."""
    with _kept_if_unavailable(), closing(Database(settings.effective_database_url)) as database:
        delete_old_versions(registry, SweepStore(database), settings.keep_versions)


@contextmanager
def _kept_if_unavailable() -> Iterator[None]:
    try:
        yield
    except NotReady as error:
        log.error("no version gives way now: %s", error)
