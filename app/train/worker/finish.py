"""Final steps of a training: evaluate the network, store it as a version, promote it.

An earlier attempt may have crashed after some of these steps. They are not repeated.
"""

from collections.abc import Sequence
from importlib.metadata import version as version_of
from typing import Any, Final

import torch

from app.database.tables import now
from app.net import InvalidWeights, MyNet, check_weights
from app.train.evaluation import evaluate
from app.train.evaluation.promotion import Verdict, evaluate_and_promote, result_of
from app.train.recipes.dataset import Dataset, Digits
from app.train.worker.attempt import Diverged, JobAttempt
from app.versions import checkpoint
from app.versions.card import Card, EpochRecord

DIVERGED: Final = "The training diverged: {problem}. Try a smaller learning_rate."


def finish(
    attempt: JobAttempt,
    model: MyNet,
    dataset: Dataset,
    epochs: Sequence[EpochRecord],
    held_out: Digits | None = None,
) -> dict[str, Any]:
    """Store the version, and promote it by the job's rule. Raises Diverged, Superseded, NotReady.

    After NotReady, the caller can call it again: it continues with the next step.
    """
    committing = attempt.writer.is_committing()
    card = _find_stored(attempt, committing) or _store(attempt, model, dataset, epochs, held_out)
    verdict = _promote(attempt, card.version, model, dataset, committing)
    attempt.trace_stage("promote", {"version": card.version, "promoted": verdict.promoted})
    return result_of(card, verdict)


def _find_stored(attempt: JobAttempt, committing: bool) -> Card | None:
    """Return the card of the version if an earlier attempt stored it, or None."""
    cards = attempt.registry.cards()
    existing = next((card for card in cards if card.job == attempt.job.id), None)
    if committing and existing is None:
        # Raises if some versions could not be fetched: it may be one of them.
        attempt.registry.check_complete()
    return existing


def _store(
    attempt: JobAttempt,
    model: MyNet,
    dataset: Dataset,
    epochs: Sequence[EpochRecord],
    held_out: Digits | None,
) -> Card:
    try:
        weights = check_weights(model.state_dict())
        metrics = evaluate.evaluate(model, dataset, attempt.device, held_out)
        attempt.trace_stage("evaluate", {"test_accuracy": metrics.test_accuracy})
    except InvalidWeights as error:
        raise Diverged(DIVERGED.format(problem=error)) from error
    except evaluate.NotFinite as error:
        raise Diverged(DIVERGED.format(problem=f"the network {error}")) from error
    attempt.writer.begin_commit()
    card = Card(
        **metrics.model_dump(),
        origin="trained",
        created_at=now(),
        recipe=attempt.hyperparameters.recipe,
        hyperparameters=attempt.job.hyperparameters,
        epochs=list(epochs),
        seconds=sum(epoch.seconds for epoch in epochs),
        job=attempt.job.id,
        parent=attempt.registry.current(),
        note=attempt.hyperparameters.note,
        feedback=None if dataset.corrections is None else len(dataset.corrections),
        data_digest=dataset.digest,
        weights_digest=checkpoint.digest(weights),
        device=str(attempt.device),
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
        code_version=version_of("mynet"),
    )
    version = attempt.registry.save(weights, card)
    attempt.trace_stage("store", {"version": version})
    return attempt.registry.card(version)


def _promote(
    attempt: JobAttempt, version: int, model: MyNet, dataset: Dataset, committing: bool
) -> Verdict:
    correct = evaluate.correct_mask(model, dataset.test, attempt.device)
    rule = attempt.hyperparameters.promote
    return evaluate_and_promote(
        attempt.registry,
        version,
        correct,
        rule,
        dataset.test,
        attempt.writer.begin_commit,
        committing=committing,
    )
