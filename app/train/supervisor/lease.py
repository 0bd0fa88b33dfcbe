"""Who supervises: one process a state folder, one state folder a database.

What enters: a state folder and a database. What leaves: whether this process may supervise. This
module does not know what there is to supervise.

On one machine a lock of the operating system decides, which ends with the process that holds it,
however that ends. Its holder speaks for the state folder, by the name that lies in it; between
state folders that share a database, the lease in the database decides, which lapses when it is not
renewed. So a service that is started again after `kill -9` goes on at once, since the lease is in
its own name.
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
# Longer than one wait for the database, and for a process to end.
SAFETY_MARGIN: Final = 16.0
NAME: Final = "supervisor"


class Lease:
    """Held by one thread, which asks for it again and again."""

    def __init__(self, state_dir: Path, store: LeaseStore) -> None:
        self.state_dir, self.store = state_dir, store
        self._lock = FileLock(state_dir / f"{NAME}.lock", blocking=False)
        self._renewed: float | None = None
        self._observed: LeaseInfo | None = None
        self._observed_at = 0.0

    def acquire(self) -> bool:
        """Take or renew the lease; False where another holds it."""
        if self._renewed is not None and time.monotonic() - self._renewed < RENEW_INTERVAL:
            return True
        if not self._acquire_lock():
            return False
        requested_at = time.monotonic()
        acquired = self.store.take(self._holder(), LEASE_SECONDS, self._expired())
        self._renewed = requested_at if acquired else None
        return self._renewed is not None

    def may_have_lapsed(self) -> bool:
        """Whether another may hold it by now, since the database did not answer for long."""
        return (
            self._renewed is None
            or time.monotonic() - self._renewed > LEASE_SECONDS - SAFETY_MARGIN
        )

    def release(self) -> None:
        """Return it up, where this process holds it."""
        if self._lock.is_locked:
            self._renewed = None
            self.store.release(self._holder())
            self._lock.release()

    def _expired(self) -> LeaseInfo | None:
        """Return another's lease that was not renewed for all of its time, by this process's clock:
        the time of day is put forward and back, and differs between machines.
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
