"""What the service stores, as operations that can be repeated: each with its old and new state."""

from dataclasses import dataclass

import numpy as np

from app.auth.keys import KeyStore, Scope
from app.database.database import Database
from app.database.jobs import JobStore
from app.feedback import FeedbackStore
from app.startup import prepare_registry
from app.torch_net import MyNet, weights_of
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from app.versions import checkpoint
from tests.conftest import settings_in


@dataclass
class Operation:
    """`act` changes what `count` counts by one; `prepare` runs before each try."""

    act: object
    count: object
    prepare: object = lambda: None
    change: int = 1


def operations(folder):
    """Return the operations by name, on one state folder."""
    settings = settings_in(folder)
    settings.state_dir.mkdir(parents=True)
    database = Database(settings.effective_database_url)
    store, keys, registry = JobStore(database), KeyStore(database), prepare_registry(settings)
    feedback = FeedbackStore(settings.feedback_dir, 10_000)
    weights = weights_of(MyNet())
    card = registry.card(1).model_copy(update={"weights_digest": checkpoint.digest(weights)})
    registry.save(weights, card)
    picture, made = np.zeros((28, 28), np.uint8), []

    def queue():
        jobs.create(store, Hyperparameters(), max_queued=10_000, key=None)

    def next_picture():
        picture.view(np.uint32)[0, 0] += 1

    def make_key():
        made.append(keys.create("a-key", [Scope.PREDICT])[0].id)

    def forget_backup():
        queue()
        database.backup.copy.unlink(missing_ok=True)

    return {
        "queue a job": Operation(queue, lambda: len(store.jobs(limit=10_000))),
        "store a version": Operation(
            lambda: registry.save(weights, card), lambda: len(registry.versions())
        ),
        "promote": Operation(
            lambda: registry.promote(2), registry.current, lambda: registry.promote(1)
        ),
        "roll back": Operation(
            registry.rollback,
            registry.current,
            lambda: (registry.promote(1), registry.promote(2)),
            change=-1,
        ),
        "correct": Operation(
            lambda: feedback.add(picture, 7), lambda: len(feedback.all()), next_picture
        ),
        "make a key": Operation(make_key, lambda: len(keys.all())),
        "revoke a key": Operation(
            lambda: keys.revoke(made[-1]), lambda: len(keys.valid()), make_key, change=-1
        ),
        "back up": Operation(
            database.backup.back_up, lambda: int(database.backup.copy.exists()), forget_backup
        ),
    }
