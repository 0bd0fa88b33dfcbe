"""The end of one sweep, in a process of its own: `python -m app.train.worker.finish_sweep`.

What enters: a conclusion, one line of JSON on standard input, which then stays open for as long as
the supervisor lives. What leaves: the sweep's result; its best version live, where it passes the
gate. An earlier process may have done some of it and died: nothing is done twice. This module does
not know how the versions were trained.
"""

import logging
import os
import sys
from contextlib import closing
from functools import partial
from itertools import pairwise

import torch
from filelock import FileLock

from app.database.store import Store
from app.database.sweeps import Sweeps
from app.database.tables import Job, Sweep
from app.errors import Conflict, NotFound, NotReady
from app.net import MyNet
from app.subprocesses import on_parent_exit
from app.telemetry import logs
from app.train.evaluation import evaluate, promotion
from app.train.evaluation.promotion import Verdict
from app.train.jobs import sweep
from app.train.jobs.assignment import SweepAssignment
from app.train.recipes import dataset
from app.versions.card import Card
from app.versions.opening import open_registry
from app.versions.registry import Registry
from app.versions.retention import delete_old_versions

log = logging.getLogger("app.train.worker.finish_sweep")


def main() -> None:
    assignment = SweepAssignment.model_validate_json(sys.stdin.readline())
    on_parent_exit(partial(os._exit, 1))
    settings = assignment.settings
    logs.configure(settings.log_level, settings.log_format)
    torch.set_num_threads(settings.effective_train_threads)
    try:
        # An older process may still be on its way out.
        with (
            FileLock(settings.state_dir / "sweeps.lock"),
            closing(Store(settings.effective_database_url)) as store,
        ):
            finish_sweep(assignment, Sweeps(store), open_registry(settings))
    except (NotReady, OSError) as error:
        log.error("sweep %s: %s", assignment.sweep_id, error)
        sys.exit(os.EX_IOERR)
    except Exception:
        log.exception("sweep %s: its end failed", assignment.sweep_id)
        sys.exit(1)


def finish_sweep(assignment: SweepAssignment, sweeps: Sweeps, registry: Registry) -> None:
    """Bring the sweep to its end, unless it has ended. Raises NotReady, OSError."""
    row = sweep.get(sweeps, assignment.sweep_id)
    if row.status != sweep.Status.RUNNING:
        return
    registry.refresh()  # another service may have trained the best
    try:
        best = _best(sweeps, registry, row)
        if best is None:
            sweep.fail(sweeps, row.id, "no_version", "No version of the sweep is left.")
            return
        job, card = best
        verdict = _earlier_verdict(row, card.version, registry) or _evaluate_promotion(
            assignment, sweeps, registry, row, card.version
        )
        sweep.succeed(sweeps, row.id, job.id, promotion.result_of(card, verdict))
        log.info("sweep %s: succeeded with version %d", row.id, card.version)
    except dataset.DatasetUnavailable as error:
        sweep.fail(sweeps, row.id, "no_data", str(error))
    except sweep.Superseded:
        log.info("sweep %s has ended already", row.id)
    delete_old_versions(registry, sweeps, assignment.settings.keep_versions)


def _best(sweeps: Sweeps, registry: Registry, row: Sweep) -> tuple[Job, Card] | None:
    """Return the best job whose version is still there, and sound."""
    for job in sweep.ranked(sweeps, sweeps.jobs(row.id)):
        version = (job.result or {})["version"]
        try:
            registry.check(version)
            return job, registry.card(version)
        except (Conflict, NotFound) as error:
            log.error("sweep %s: %s", row.id, error)
    return None


def _earlier_verdict(row: Sweep, version: int, registry: Registry) -> Verdict | None:
    """Return the verdict by which an earlier process went live with the version, and died then."""
    result = row.result or {}
    if not row.committing or result.get("version") != version:
        return None
    history = registry.history()
    went_live = (
        history == [version]
        if row.expected_live is None
        else (version, row.expected_live) in pairwise(history)
    )
    return Verdict(True, result["reason"]) if went_live else None


def _evaluate_promotion(
    assignment: SweepAssignment, sweeps: Sweeps, registry: Registry, row: Sweep, version: int
) -> Verdict:
    test = dataset.load(assignment.settings.data_dir).test
    model = MyNet()
    model.load_state_dict(registry.weights(version))
    card = registry.card(version)

    def begin_commit(live: int | None, verdict: Verdict) -> None:
        sweep.begin_finish(sweeps, row.id, live, promotion.result_of(card, verdict))

    correct = evaluate.correct_mask(model, test, torch.device("cpu"))
    rule = sweep.request_of(row).promote
    return promotion.evaluate_and_promote(registry, version, correct, rule, test, begin_commit)


if __name__ == "__main__":
    main()
