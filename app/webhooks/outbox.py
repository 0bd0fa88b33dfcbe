"""The outbox: messages of jobs that have ended, stored in the transaction that ends the job.

So a job that has ended always has its messages, and a job that has not ended has none, whenever the
process dies.
"""

import json
import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from pydantic import HttpUrl
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import Delivery, Job, Webhook, now

PENDING: Final = "pending"
DELIVERED: Final = "delivered"
FAILED: Final = "failed"
PROMOTED: Final = "promoted"
TYPE_PREFIX: Final = "job."
ID_PREFIX: Final = "msg_"
# What a message tells of its job. The epochs, which may be a thousand, are at GET /train/{id}.
FIELDS: Final = (
    *("id", "status", "created_at", "started_at", "finished_at"),
    *("hyperparameters", "attempt", "result", "error"),
)


def store_messages(session: Session, job_id: str) -> None:
    """Store the messages of a job that has just ended, one for each event and URL."""
    webhooks = session.scalars(select(Webhook).where(Webhook.job_id == job_id)).all()
    if webhooks:
        job = session.scalars(select(Job).where(Job.id == job_id)).one()
        session.add_all(_messages(job, webhooks))


def _messages(job: Job, webhooks: Any) -> Iterator[Delivery]:
    time = now()
    for event in _events(job):
        body = json.dumps(payload(job, event, time), separators=(",", ":"))
        for url in sorted({webhook.url for webhook in webhooks if event in webhook.events}):
            yield Delivery(
                id=f"{ID_PREFIX}{secrets.token_hex(12)}",
                job_id=job.id,
                event=event,
                url=url,
                origin=origin(url),
                body=body,
                state=PENDING,
                created_at=time,
                next_attempt_at=time,
            )


def payload(job: Job, event: str, time: datetime) -> dict[str, Any]:
    """Return the body of a message, in the form that Standard Webhooks recommends."""
    fields = {name: _plain(getattr(job, name)) for name in FIELDS}
    return {"type": f"{TYPE_PREFIX}{event}", "timestamp": _plain(time), "data": fields}


def origin(url: str) -> str:
    """Return scheme, host and port of a URL: what may be logged, and what fails as one."""
    parsed = HttpUrl(url)
    return f"{parsed.scheme}://{parsed.host}:{parsed.port}"


def _events(job: Job) -> list[str]:
    is_promoted = bool(job.result and job.result["promoted"])
    return [job.status, PROMOTED] if is_promoted else [job.status]


def _plain(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
