"""Which versions give way to newer ones.

The versions of a sweep stay until it has ended, since they are compared then.
"""

import logging

from app.database.sweeps import Sweeps
from app.errors import NotReady
from app.versions.registry import Registry

log = logging.getLogger(__name__)


def delete_old_versions(registry: Registry, sweeps: Sweeps, keep_versions: int) -> None:
    """Delete the oldest versions, so that `keep_versions` are left.

    Beside them stay those that `Registry.prune` leaves, those of the jobs of sweeps that have not
    ended, and the best of as many sweeps. Where the database or the bucket is away, all stay until
    the next time.
    """
    try:
        registry.prune(keep_versions, protected_jobs=sweeps.protected_jobs(keep_versions))
    except NotReady as error:
        log.error("no version gives way now: %s", error)
