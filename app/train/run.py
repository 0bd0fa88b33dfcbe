"""One job, in a process of its own: `python -m app.train.run`, started by the supervisor.

What enters: an assignment, one line of JSON on standard input, which then stays open for as long as
the supervisor lives. What leaves: events and epochs in the database, a version in the registry.
This module does not know who queued the job.
"""

import logging
import os
import sys
import threading
from typing import Final

import torch

from app import logs
from app.net import BadDevice
from app.registry import Registry
from app.store import Store
from app.train import job
from app.train.assignment import Assignment
from app.train.data import NoData
from app.train.training import Diverged, Training

NICENESS: Final = 10
REFUSALS: Final = {NoData: "no_data", Diverged: "diverged", BadDevice: "bad_device"}
log = logging.getLogger("app.train.run")


def main() -> None:
    assignment = Assignment.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    settings = assignment.settings
    logs.configure(settings.log_level, settings.log_format)
    os.nice(NICENESS)
    torch.set_num_threads(settings.effective_train_threads)
    store = Store(settings.effective_database_url)
    run(assignment, store)
    store.close()


def run(assignment: Assignment, store: Store) -> None:
    """Run one attempt to its end. What goes wrong is told to the job, never swallowed."""
    job_id, attempt = assignment.job_id, assignment.attempt
    try:
        registry = Registry(assignment.settings.models_dir)
        Training(assignment.settings, store, registry, job_id, attempt).run()
        log.info("job %s: succeeded", job_id)
    except job.Superseded:
        log.info("job %s: attempt %d may write no more", job_id, attempt)
    except tuple(REFUSALS) as error:
        log.error("job %s: failed: %s", job_id, error)
        job.fail(store, job_id, attempt, REFUSALS[type(error)], str(error))
    except Exception as error:
        log.exception("job %s: attempt %d stumbled", job_id, attempt)
        job.stumble(store, job_id, attempt, error)


def _end_with_supervisor() -> None:
    # The pipe closes when the supervisor ends, in whatever way it ends.
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
