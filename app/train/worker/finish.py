"""Final steps of a training: evaluate the network, store it as a version, promote it.

An earlier attempt may have crashed after some of these steps. They are not repeated.
"""

from collections.abc import Sequence
from typing import Any, Final

from app.torch_net import MyNet
from app.train.evaluation import evaluate
from app.train.evaluation.outcome import result_of
from app.train.evaluation.promotion import Verdict, evaluate_and_promote
from app.train.jobs.phase import Phase
from app.train.recipes.dataset import Dataset, Digits
from app.train.worker.attempt import JobAttempt
from app.train.worker.early_end import EXPLANATIONS, Ending
from app.train.worker.model_card import evaluate_model
from app.versions.card import Card, EpochRecord

NO_ENDING: Final = Ending()


def finish(
    attempt: JobAttempt,
    model: MyNet,
    dataset: Dataset,
    epochs: Sequence[EpochRecord],
    held_out: Digits | None = None,
    ending: Ending = NO_ENDING,
) -> dict[str, Any]:
    """Store the version, and promote it by the job's rule. Raises Diverged, Superseded, NotReady.

    After NotReady, the caller can call it again: it continues with the next step.
    """
    attempt.begin_phase(Phase.EVALUATING)
    committing = attempt.writer.is_committing()
    card = _find_stored(attempt, committing) or _store(attempt, model, dataset, epochs, held_out)
    verdict = _promote(attempt, card.version, model, dataset, committing)
    attempt.trace_stage("promote", {"version": card.version, "promoted": verdict.promoted})
    result = result_of(card, verdict, attempt.registry.card)
    sentence = _describe(ending, card, attempt.hyperparameters.max_seconds)
    return result | {
        "explanation": sentence + result["explanation"],
        "stopped_by": ending.cause,
        "best_epoch": ending.best_epoch,
    }


def _describe(ending: Ending, card: Card, max_seconds: float | None) -> str:
    """Return a sentence about the end of the training, if it ended early."""
    if ending.cause is None:
        return ""
    values = {"epochs": len(card.epochs), "best_epoch": ending.best_epoch}
    return EXPLANATIONS[ending.cause].format_map(values | {"max_seconds": max_seconds})


def _find_stored(attempt: JobAttempt, committing: bool) -> Card | None:
    """Return the card of the version if an earlier attempt stored it, or None."""
    cards = attempt.registry.cards()
    own = (card for card in cards if card.job == attempt.job.id and card.checkpoint is None)
    existing = next(own, None)
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
    weights, card = evaluate_model(attempt, model, dataset, epochs, held_out)
    attempt.trace_stage("evaluate", {"test_accuracy": card.test_accuracy})
    attempt.writer.begin_commit()
    attempt.begin_phase(Phase.STORING)
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
