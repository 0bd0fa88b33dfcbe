"""Which versions give way to newer ones.

What enters: the settings, and the versions. What leaves: no more versions than may be kept. This
module does not know what made them, but for the sweeps, which are compared at their ends.
"""

import logging
from contextlib import closing

from app.config.settings import Settings
from app.database.store import Store
from app.database.sweeps import Sweeps
from app.errors import NotReady
from app.versions.registry import Registry

log = logging.getLogger(__name__)


def prune(settings: Settings, registry: Registry) -> None:
    """Remove the oldest versions, so that `MYNET_KEEP_VERSIONS` are left.

    Beside them stay those that `Registry.prune` leaves, those of the jobs of sweeps that have not
    ended, and the best of as many sweeps. Where the database or the bucket is away, all stay until
    the next time.
    """
    keep_versions = settings.keep_versions
    try:
        with closing(Store(settings.effective_database_url)) as store:
            registry.prune(
                keep_versions, protected_jobs=Sweeps(store).protected_jobs(keep_versions)
            )
    except NotReady as error:
        log.error("no version gives way now: %s", error)
