"""The messages of the outbox in the database: when they are due, their claims, and their outcome.

A process claims a message by moving its next attempt beyond the time that an attempt may take. If
the process dies, the message is due again then, and is sent with the same id. The number of
attempts tells the claims apart: an older one records nothing.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from app.database.database import Database
from app.database.tables import Delivery, Event, Webhook, now
from app.webhooks.outbox import DELIVERED, FAILED, PENDING

# A next attempt further away than any wait means that the clock was put back: it is due.
HORIZON: Final = timedelta(hours=2)
EVENT_KIND: Final = "webhook"


class DeliveryStore:
    """The outbox in a database. Every call raises NotReady if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def due(self, limit: int, busy_origins: Collection[str] = ()) -> Sequence[Delivery]:
        """List messages that are due, longest due first, without those for the busy origins."""
        time = now()
        is_due = or_(Delivery.next_attempt_at <= time, Delivery.next_attempt_at > time + HORIZON)
        query = select(Delivery).where(Delivery.state == PENDING, is_due)
        if busy_origins:
            query = query.where(Delivery.origin.not_in(busy_origins))
        with self.database.read() as session:
            return session.scalars(query.order_by(Delivery.next_attempt_at).limit(limit)).all()

    def claim(self, delivery: Delivery, seconds: float) -> int | None:
        """Claim a message for so long, and return the number of the attempt.

        Returns None if another process was faster.
        """
        attempt = delivery.attempts + 1
        due_again = now() + timedelta(seconds=seconds)
        values = {"attempts": attempt, "next_attempt_at": due_again}
        return attempt if self._change(delivery, delivery.attempts, values) else None

    def record_delivered(self, delivery: Delivery, attempt: int, status: int) -> None:
        values = {"state": DELIVERED, "last_status": status, "last_error": None}
        self._change(delivery, attempt, values | _finished())

    def record_failure(
        self, delivery: Delivery, attempt: int, status: int | None, error: str, wait: float
    ) -> None:
        """Record a failed attempt, and that the next one is due in `wait` seconds."""
        due_again = now() + timedelta(seconds=wait)
        values = {"last_status": status, "last_error": error, "next_attempt_at": due_again}
        self._change(delivery, attempt, values)

    def give_up(self, delivery: Delivery, attempt: int, status: int | None, error: str) -> None:
        """Record that a message is not sent any more, also as an event of its job."""
        values = {"state": FAILED, "last_status": status, "last_error": error}
        data = {"id": delivery.id, "event": delivery.event, "attempts": attempt, "error": error}
        event = Event(job_id=delivery.job_id, at=now(), kind=EVENT_KIND, data=data)
        self._change(delivery, attempt, values | _finished(), event)

    def deliveries_by_job(self, job_ids: Sequence[str]) -> dict[str, list[Delivery]]:
        """List the messages of each of these jobs, oldest first."""
        query = select(Delivery).where(Delivery.job_id.in_(job_ids)).order_by(Delivery.number)
        deliveries: dict[str, list[Delivery]] = {job_id: [] for job_id in job_ids}
        with self.database.read() as session:
            for delivery in session.scalars(query):
                deliveries[delivery.job_id].append(delivery)
        return deliveries

    def requested_webhooks(self, job_ids: Sequence[str]) -> dict[str, Webhook]:
        """Return the webhook of each of these jobs whose request named one."""
        query = select(Webhook).where(Webhook.job_id.in_(job_ids), ~Webhook.from_settings)
        with self.database.read() as session:
            return {webhook.job_id: webhook for webhook in session.scalars(query)}

    def _change(
        self, delivery: Delivery, attempts: int, values: dict[str, Any], *events: Event
    ) -> bool:
        """Change a message that has this number of attempts, and return whether it changed."""
        is_claimed = Delivery.number == delivery.number, Delivery.attempts == attempts
        change = update(Delivery).where(*is_claimed, Delivery.state == PENDING).values(**values)

        def work(session: Session) -> bool:
            is_changed = bool(session.execute(change).rowcount)  # type: ignore[attr-defined]
            if is_changed:
                session.add_all(events)
            return is_changed

        return self.database.write(work)


def _finished() -> dict[str, Any]:
    return {"finished_at": now(), "next_attempt_at": None}
