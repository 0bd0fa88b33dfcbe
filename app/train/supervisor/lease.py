"""Lease of the supervisor: one process per state folder, one state folder per database.

On one machine, a lock of the operating system selects the process. The lock ends with its process,
even after a crash. Between state folders that share a database, the lease in the database decides,
and it expires if it is not renewed. The lease belongs to the name that is stored in the state
folder, so a service that restarts after `kill -9` continues immediately with its own lease.
"""

import secrets
import time
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from app.atomic_files import atomic_replace
from app.database.leases import LeaseInfo, LeaseStore

LEASE_SECONDS: Final = 30.0
RENEW_INTERVAL: Final = 5.0
# Longer than one wait for the database plus the exit of a process.
SAFETY_MARGIN: Final = 16.0
NAME: Final = "supervisor"


class Lease:
    """The lease, acquired and renewed by one thread."""

    def __init__(self, state_dir: Path, store: LeaseStore) -> None:
        self.state_dir, self.store = state_dir, store
        self._lock = FileLock(state_dir / f"{NAME}.lock", blocking=False)
        self._renewed: float | None = None
        self._observed: LeaseInfo | None = None
        self._observed_at = 0.0

    def acquire(self) -> bool:
        """Take or renew the lease, and return whether this process holds it. Raises NotReady."""
        if self._renewed is not None and time.monotonic() - self._renewed < RENEW_INTERVAL:
            return True
        if not self._acquire_lock():
            return False
        requested_at = time.monotonic()
        acquired = self.store.take(self._holder(), LEASE_SECONDS, self._expired())
        self._renewed = requested_at if acquired else None
        return self._renewed is not None

    def may_have_lapsed(self) -> bool:
        """Return whether another process may hold the lease, because it was not renewed in time."""
        return (
            self._renewed is None
            or time.monotonic() - self._renewed > LEASE_SECONDS - SAFETY_MARGIN
        )

    def release(self) -> None:
        """Release the lease if this process holds it. Raises NotReady."""
        if self._lock.is_locked:
            self._renewed = None
            try:
                self.store.release(self._holder())
            finally:  # the next supervisor of this state folder continues with the lease
                self._lock.release()

    def _expired(self) -> LeaseInfo | None:
        """Return the lease of another process if it was not renewed in time, or None.

        This is measured with the monotonic clock, because the time of day can be changed and
        differs between machines.
        """
        lease = self.store.get()
        if lease != self._observed:
            self._observed, self._observed_at = lease, time.monotonic()
        return lease if time.monotonic() - self._observed_at > LEASE_SECONDS else None

    def _acquire_lock(self) -> bool:
        if not self._lock.is_locked:
            try:
                self._lock.acquire()
            except Timeout:
                return False
        return True

    def _holder(self) -> str:
        name = self.state_dir / NAME
        if not name.exists():
            with atomic_replace(name) as temporary:
                temporary.write_text(secrets.token_hex(8))
        return name.read_text()
