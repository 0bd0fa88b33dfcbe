"""Promotion gate: McNemar's test against the live version."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from app.errors import Conflict, NotFound
from app.net import MyNet
from app.train.evaluation import evaluate
from app.train.jobs.hyperparameters import PromoteRule
from app.train.recipes.dataset import Digits
from app.versions.card import Card
from app.versions.registry import Registry

SIGNIFICANCE_LEVEL: Final = 0.05
log = logging.getLogger(__name__)


class Verdict(NamedTuple):
    """The decision whether to promote, and its reason."""

    promoted: bool
    reason: str


class Baseline(NamedTuple):
    """A live version, and for which test images its prediction is correct: (N,) bool."""

    version: int
    correct: Tensor


def decide(rule: PromoteRule, correct: Tensor, baseline: Baseline | None) -> Verdict:
    """Return the verdict on a new version with these `correct` predictions, (N,) bool.

    With the rule `if_better`, it is promoted if it predicts more test images correctly than the
    baseline and McNemar's test gives p < 0.05. `baseline` is None if no version is live yet.
    """
    if rule == "never":
        return Verdict(False, "the promotion rule is never")
    if baseline is None:
        return Verdict(True, "there was no live version")
    gained = int((correct & ~baseline.correct).sum())
    lost = int((~correct & baseline.correct).sum())
    p = mcnemar(gained, lost)
    figures = (
        f"{_percent(correct)} against {_percent(baseline.correct)} of version {baseline.version}, "
        f"McNemar {_format_p(p)}"
    )
    if rule == "always":
        return Verdict(True, f"the promotion rule is always; {figures}")
    if p >= SIGNIFICANCE_LEVEL:
        return Verdict(False, f"{figures}: the difference may be chance")
    return Verdict(gained > lost, f"{figures}: {gained} images gained, {lost} lost")


def mcnemar(gained: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test: a binomial test on the changed predictions.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions".
    """
    changed = gained + lost
    tail = ways = 1  # integers, because a float would underflow
    for k in range(min(gained, lost)):
        ways = ways * (changed - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << changed))


def _percent(correct: Tensor) -> str:
    return f"{100 * correct.double().mean().item():.2f} %"


def _format_p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


# Called before the version goes live; may raise.
BeginCommit = Callable[[], None]


def evaluate_and_promote(
    registry: Registry,
    version: int,
    correct: Tensor,
    rule: PromoteRule,
    test: Digits,
    begin_commit: BeginCommit,
    *,
    committing: bool = False,
) -> Verdict:
    """Promote a version if the rule allows it, and return the verdict.

    `correct` are its correct predictions on the test images, (N,) bool. If an earlier attempt was
    `committing` and made the version live, later promotions are kept. A version that is live
    already is compared with the previous live version.
    """
    while True:
        history = registry.history()
        live = next(iter(history), None)
        is_done = version == live or (committing and version in history)
        # Otherwise the version must beat the present live version, even if it was live before.
        baselines = history[history.index(version) + 1 :] if is_done else history
        verdict = decide(rule, correct, _baseline(registry, baselines, test))
        if is_done or not verdict.promoted:
            return verdict
        begin_commit()
        # If another version went live since, compare again, with that one.
        if registry.promote(version, expected=live):
            return verdict


def result_of(card: Card, verdict: Verdict) -> dict[str, Any]:
    """Return the result of the job that created this version."""
    return {"version": card.version, "test_accuracy": card.test_accuracy, **verdict._asdict()}


def _baseline(registry: Registry, history: Sequence[int], test: Digits) -> Baseline | None:
    """Return the first of these versions that can be loaded."""
    for live in history:
        try:
            model = MyNet()
            model.load_state_dict(registry.weights(live))
        except (Conflict, NotFound) as error:
            log.error("baseline version skipped: version=%d error=%s", live, error)
            continue
        return Baseline(live, evaluate.correct_mask(model, test, torch.device("cpu")))
    return None
