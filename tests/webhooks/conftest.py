"""Settings that allow a receiver on this machine, and a database with jobs that have webhooks."""

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from app.config.settings import Settings
from app.database.jobs import JobStore
from app.database.tables import Job
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from app.webhooks.delivery_store import DeliveryStore
from app.webhooks.request import EVENTS
from app.webhooks.subscriptions import Subscription
from tests.conftest import settings_in
from tests.webhooks.receiver import SECRET, Server, receiving


@pytest.fixture
def settings(tmp_path, database_url) -> Settings:
    changes = {"webhook_secret": SecretStr(SECRET), "webhook_allow": "127.0.0.1"}
    return settings_in(tmp_path, database_url).model_copy(update=changes)


@pytest.fixture
def receiver() -> Iterator[Server]:
    with receiving() as server:
        yield server


@pytest.fixture
def outbox(database) -> DeliveryStore:
    return DeliveryStore(database)


@pytest.fixture
def ended_job(store: JobStore) -> Callable[..., Job]:
    """Return what makes a job with a webhook, and cancels it."""

    def make(url: str, *events: str) -> Job:
        return jobs.cancel(store, queued_job(store, url, *events).id)

    return make


def queued_job(store: JobStore, url: str, *events: str) -> Job:
    webhooks = [Subscription(url, events or EVENTS)]
    return jobs.create(store, Hyperparameters(), max_queued=1000, key=None, webhooks=webhooks)
