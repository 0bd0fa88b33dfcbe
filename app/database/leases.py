"""The supervisor's lease in the database: only its holder may supervise."""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import and_, delete, or_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database.database import Database
from app.database.tables import Lease, now


class LeaseInfo(NamedTuple):
    """The holder of the lease, and its expiry by the holder's own clock."""

    holder: str
    expires_at: datetime


class LeaseStore:
    """The lease in a database. Every call raises NotReady if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def holder(self) -> str | None:
        """Return the holder of the lease, or None if it has expired or no process has taken it."""
        lease = self.get()
        return lease.holder if lease and lease.expires_at > now() else None

    def get(self) -> LeaseInfo | None:
        """Return the lease as it was last renewed."""
        with self.database.read() as session:
            lease = session.get(Lease, 1)
        return LeaseInfo(lease.holder, lease.expires_at) if lease else None

    def take(self, holder: str, seconds: float, expired: LeaseInfo | None = None) -> bool:
        """Take or renew the lease, and return whether that succeeded.

        Another holder's lease is taken only if it still equals `expired`.
        """
        expires_at = now() + timedelta(seconds=seconds)
        own = Lease.holder == holder
        lapsed = expired and and_(
            Lease.holder == expired.holder, Lease.expires_at == expired.expires_at
        )
        is_free = own if lapsed is None else or_(own, lapsed)
        renewal = update(Lease).where(Lease.id == 1, is_free)

        def work(session: Session) -> bool:
            renewed = session.execute(renewal.values(holder=holder, expires_at=expires_at))
            if renewed.rowcount == 0:  # type: ignore[attr-defined]
                if session.get(Lease, 1):  # another process holds it
                    return False
                session.add(Lease(id=1, holder=holder, expires_at=expires_at))
            return True

        try:
            return self.database.write(work, vital=True)
        except IntegrityError:  # another process inserted the row first
            return False

    def release(self, holder: str) -> None:
        """Release the lease if `holder` has it."""
        own = delete(Lease).where(Lease.holder == holder)
        self.database.write(lambda session: session.execute(own))
