"""The delivery of a webhook to a receiver in this process."""

import asyncio
import logging
import time
from contextlib import ExitStack, closing
from typing import Final

from sqlalchemy import select

from app.config.settings import Settings
from app.database.jobs import JobStore
from app.database.tables import Delivery, Job, now
from app.startup import open_database
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from app.webhooks import dispatcher
from app.webhooks.dispatcher import Dispatcher, Timing
from app.webhooks.http_post import TimeOuts
from app.webhooks.outbox import DELIVERED
from app.webhooks.subscriptions import Subscription
from tests.rigs.io_errors.trial import Operation, Refusal, temporary_files
from tests.webhooks.receiver import receiving

# A claim ends after a second, so that the next try need not wait for longer.
TIMING: Final = Timing(claim_margin=0.0, time_outs=TimeOuts(connect=1.0, total=1.0))


class ErrorLog(logging.Handler):
    """The last error of a logger."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logging.ERROR)
        logger.addHandler(self)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


def operation(settings: Settings, stack: ExitStack) -> Operation:
    """Return the delivery of a job's message. `stack` ends the receiver."""
    receiver = stack.enter_context(receiving())
    database = stack.enter_context(closing(open_database(settings)))
    store, errors = JobStore(database), ErrorLog(dispatcher.log)
    job: Job | None = None

    def end_job() -> None:
        nonlocal job
        errors.text = ""
        hooks = [Subscription(receiver.url, ("cancelled",))]
        queued = jobs.create(store, Hyperparameters(), max_queued=1, key=None, webhooks=hooks)
        job = jobs.cancel(store, queued.id)

    def message() -> Delivery:
        assert job is not None, "a trial ends a job first"
        with database.read() as session:
            return session.scalars(select(Delivery).where(Delivery.job_id == job.id)).one()

    def deliver() -> None:
        due_at = message().next_attempt_at
        time.sleep(max(0.0, (due_at - now()).total_seconds()) if due_at else 0.0)
        asyncio.run(Dispatcher(settings, database, TIMING).deliver_due())
        if message().state != DELIVERED:  # the service's log says why
            raise Refusal(503, "log", errors.text)

    def delivered() -> int:
        """Return whether the message is recorded as delivered. It must have arrived then."""
        found = message()
        is_there = any(message_id == found.id for message_id, _ in receiver.received)
        assert is_there or found.state != DELIVERED, "delivered without a receiver"
        return int(found.state == DELIVERED)

    return Operation(
        deliver,
        delivered,
        end_job,
        leftovers=lambda: [path.name for path in temporary_files(settings.state_dir)],
    )
