"""Promotion gate: McNemar's test against the live version."""

import logging
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from app.errors import Conflict, NotFound
from app.torch_net import net_with
from app.train.evaluation import evaluate
from app.train.jobs.hyperparameters import PromoteRule
from app.train.recipes.dataset import Digits
from app.versions.registry import Registry

SIGNIFICANCE_LEVEL: Final = 0.05
log = logging.getLogger(__name__)


class Cause(StrEnum):
    """What decided whether a version goes live."""

    FIRST = "first"
    ALWAYS = "always"
    NEVER = "never"
    BETTER = "better"
    WORSE = "worse"
    CHANCE = "chance"


class Verdict(NamedTuple):
    """The decision whether to promote, and its reason.

    `live` is the version that was live before, if there was one, and `live_accuracy` its accuracy
    on the same test images.
    """

    promoted: bool
    reason: str
    cause: Cause
    live: int | None = None
    live_accuracy: float | None = None


class Baseline(NamedTuple):
    """A live version, and for which test images its prediction is correct: (N,) bool."""

    version: int
    correct: NDArray[np.bool_]


def decide(rule: PromoteRule, correct: NDArray[np.bool_], baseline: Baseline | None) -> Verdict:
    """Return the verdict on a new version with these `correct` predictions, (N,) bool.

    With the rule `if_better`, it is promoted if it predicts more test images correctly than the
    baseline and McNemar's test gives p < 0.05. `baseline` is None if no version is live yet.
    """
    if rule == "never":
        live = baseline and baseline.version
        return Verdict(False, "the promotion rule is never", Cause.NEVER, live)
    if baseline is None:
        return Verdict(True, "there was no live version", Cause.FIRST)
    compared = baseline.version, float(baseline.correct.mean())
    gained = int((correct & ~baseline.correct).sum())
    lost = int((~correct & baseline.correct).sum())
    p = mcnemar(gained, lost)
    figures = (
        f"{_percent(correct)} against {_percent(baseline.correct)} of version {baseline.version}, "
        f"McNemar {_format_p(p)}"
    )
    if rule == "always":
        return Verdict(True, f"the promotion rule is always; {figures}", Cause.ALWAYS, *compared)
    if p >= SIGNIFICANCE_LEVEL:
        reason = f"{figures}: the difference may be chance"
        return Verdict(False, reason, Cause.CHANCE, *compared)
    reason = f"{figures}: {gained} images gained, {lost} lost"
    cause = Cause.BETTER if gained > lost else Cause.WORSE
    return Verdict(gained > lost, reason, cause, *compared)


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


def _percent(correct: NDArray[np.bool_]) -> str:
    return f"{100 * correct.mean():.2f} %"


def _format_p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


# Called before the version goes live; may raise.
BeginCommit = Callable[[], None]


def evaluate_and_promote(
    registry: Registry,
    version: int,
    correct: NDArray[np.bool_],
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


def _baseline(registry: Registry, history: Sequence[int], test: Digits) -> Baseline | None:
    """Return the first of these versions that can be loaded."""
    for live in history:
        try:
            model = net_with(registry.weights(live))
        except (Conflict, NotFound) as error:
            log.error("baseline version skipped: version=%d error=%s", live, error)
            continue
        return Baseline(live, evaluate.correct_mask(model, test, torch.device("cpu")))
    return None
