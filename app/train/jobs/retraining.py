"""Retraining by itself, after so many new corrections: `MYNET_RETRAIN_AFTER`.

New is what came after the last job with all corrections had started, because a job takes the
corrections that there are at its first start. The database holds that time in a row of its own:
jobs may be deleted. Corrections that show no digit count if the recipe of the live version learns
from them: with another recipe, a job would learn nothing new.
"""

import logging
from datetime import datetime
from typing import Final, NamedTuple, get_args

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from app.config.settings import Settings
from app.database.database import Database
from app.database.tables import Job, Retraining
from app.datasets.records import CORRECTIONS
from app.feedback import FeedbackStore
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters, Recipe, learns_non_digits
from app.versions.opening import open_registry
from app.webhooks.subscriptions import subscriptions

ROW: Final = 1
log = logging.getLogger(__name__)


class LastTraining(NamedTuple):
    """The last job with corrections: when it started, and whether such a job waits to start."""

    started_at: datetime | None
    is_waiting: bool


class AutomaticRetraining:
    """Counts new corrections, and queues a job with all of them when there are `after`."""

    def __init__(self, settings: Settings, database: Database, after: int) -> None:
        self.settings, self.database, self.after = settings, database, after
        self.feedback = FeedbackStore(settings.feedback_dir, settings.max_feedback)
        # As of the last call of `count`, for probes, which must not wait for a disk.
        self.new_corrections = 0

    def count(self) -> int:
        """Count the new corrections; none while a job waits that will use them. Raises NotReady."""
        with self.database.read() as session:
            last = _last_training(session)
        return self._count(last)

    def start_if_due(self) -> Job | None:
        """Queue a job if enough corrections are new, and return it. Raises NotReady.

        Only one of several processes that call this at the same time queues it.
        """
        last = self.database.write_exclusively(_store_last_training)
        if self._count(last) < self.after:
            return None
        job, rows = jobs.queued(self._hyperparameters(), None, None, subscriptions(self.settings))

        def work(session: Session) -> bool:
            if _last_training(session) != last:  # another process was faster
                return False
            session.add(job)
            session.flush()
            session.add_all(rows)
            session.merge(Retraining(id=ROW, since=job.created_at))
            return True

        if not self.database.write_exclusively(work):
            return None
        log.info("retraining queued: job=%s new_corrections=%d", job.id, self.new_corrections)
        return job

    def _count(self, last: LastTraining) -> int:
        if last.is_waiting:
            self.new_corrections = 0
        else:
            non_digits = learns_non_digits(self._recipe())
            self.new_corrections = self.feedback.count(last.started_at, non_digits=non_digits)
        return self.new_corrections

    def _hyperparameters(self) -> Hyperparameters:
        return Hyperparameters(
            recipe=self._recipe(),
            include_feedback=True,
            note=f"retrained by itself after {self.new_corrections} new corrections",
        )

    def _recipe(self) -> Recipe:
        """Return that of the live version: another one could not be better by chance."""
        registry = open_registry(self.settings)
        live = registry.current()
        recipe = registry.card(live).recipe if live else None
        return next((name for name in get_args(Recipe) if name == recipe), "documented")


def _store_last_training(session: Session) -> LastTraining:
    """Return the last training, and store when it started, because its job may be deleted."""
    last = _last_training(session)
    if last.started_at:
        session.merge(Retraining(id=ROW, since=last.started_at))
    return last


def _last_training(session: Session) -> LastTraining:
    row = session.get(Retraining, ROW)
    since = row.since if row else None
    query = select(Job.started_at, Job.created_at, Job.finished_at).where(
        or_(
            Job.hyperparameters["include_feedback"].as_boolean(),
            Job.hyperparameters["datasets"].as_string().contains(f'"{CORRECTIONS}"'),
        )
    )
    if since:
        is_unfinished = and_(Job.started_at.is_(None), Job.finished_at.is_(None))
        query = query.where(or_(Job.started_at > since, Job.created_at > since, is_unfinished))
    found = session.execute(query).all()
    # One that was cancelled in the queue never started.
    starts = [started or created for started, created, _ in found]
    is_waiting = any(started is None and finished is None for started, _, finished in found)
    return LastTraining(max([*starts, *([since] if since else [])], default=None), is_waiting)


def retraining_of(settings: Settings, database: Database) -> AutomaticRetraining | None:
    """Return the automatic retraining of the settings, or None if it is off."""
    after = settings.retrain_after
    return AutomaticRetraining(settings, database, after) if after else None
