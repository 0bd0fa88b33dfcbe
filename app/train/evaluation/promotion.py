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
    promoted: bool
    reason: str


class Baseline(NamedTuple):
    """The version that is live, and which test images it reads right: (N,) bool."""

    version: int
    correct: Tensor


def decide(rule: PromoteRule, correct: Tensor, baseline: Baseline | None) -> Verdict:
    """Compare two versions on the same test images; `right` is the new one's, (N,) bool.

    By `if_better` it goes live where it reads more of them right, and McNemar's test gives less
    than 5 % for so large a difference to be chance. `baseline` is None if nothing is live yet.
    """
    if rule == "never":
        return Verdict(False, "promote: never was asked for")
    if baseline is None:
        return Verdict(True, "no version was live")
    gained = int((correct & ~baseline.correct).sum())
    lost = int((~correct & baseline.correct).sum())
    p = mcnemar(gained, lost)
    figures = (
        f"{_percent(correct)} against {_percent(baseline.correct)} of version {baseline.version}, "
        f"McNemar {_format_p(p)}"
    )
    if rule == "always":
        return Verdict(True, f"promote: always was asked for; {figures}")
    if p >= SIGNIFICANCE_LEVEL:
        return Verdict(False, f"{figures}: the difference may be chance")
    return Verdict(gained > lost, f"{figures}: {gained} images gained, {lost} lost")


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p of McNemar's test, exact: a binomial test on the images that changed.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions".
    """
    changed = gained + lost
    tail = ways = 1  # whole numbers: a float would underflow
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
    """Judge a version by the rule, and go live with it where it passes.

    `correct` says which of the test images it reads right, (N,) bool. If an earlier attempt was
    `committing` and made the version live, what came after it holds. A version that is live is
    compared with what was live before it.
    """
    while True:
        history = registry.history()
        live = next(iter(history), None)
        is_done = version == live or (committing and version in history)
        # Else it is not live, whatever it was once, and has what is live now to beat.
        baselines = history[history.index(version) + 1 :] if is_done else history
        verdict = decide(rule, correct, _baseline(registry, baselines, test))
        if is_done or not verdict.promoted:
            return verdict
        begin_commit()
        # Where another version went live meanwhile, it is that one that this one has to beat.
        if registry.promote(version, expected=live):
            return verdict


def result_of(card: Card, verdict: Verdict) -> dict[str, Any]:
    """Return the result of a job that made this version."""
    return {"version": card.version, "test_accuracy": card.test_accuracy, **verdict._asdict()}


def _baseline(registry: Registry, history: Sequence[int], test: Digits) -> Baseline | None:
    """Return the first of these versions that can be read."""
    for live in history:
        try:
            model = MyNet()
            model.load_state_dict(registry.weights(live))
        except (Conflict, NotFound) as error:
            log.error("%s", error)
            continue
        return Baseline(live, evaluate.correct_mask(model, test, torch.device("cpu")))
    return None
