"""Whether a new version goes live, and why, in words.

What enters: the rule that was asked for, and which of the same test images two versions read right.
What leaves: a verdict. This module does not know how a version goes live.
"""

from typing import Final, NamedTuple

from torch import Tensor

from app.train.hyperparameters import PromoteRule

SIGNIFICANT: Final = 0.05


class Verdict(NamedTuple):
    promoted: bool
    reason: str


class Rival(NamedTuple):
    """The version that is live, and which test images it reads right: (N,) bool."""

    version: int
    right: Tensor


def judge(rule: PromoteRule, right: Tensor, rival: Rival | None) -> Verdict:
    """Compare two versions on the same test images; `right` is the new one's, (N,) bool.

    By `if_better` it goes live where it reads more of them right, and McNemar's test gives less
    than 5 % for so large a difference to be chance. `rival` is None where nothing is live yet.
    """
    if rule == "never":
        return Verdict(False, "promote: never was asked for")
    if rival is None:
        return Verdict(True, "no version was live")
    gained = int((right & ~rival.right).sum())
    lost = int((~right & rival.right).sum())
    p = mcnemar(gained, lost)
    figures = (
        f"{_percent(right)} against {_percent(rival.right)} of version {rival.version}, "
        f"McNemar {_in_words(p)}"
    )
    if rule == "always":
        return Verdict(True, f"promote: always was asked for; {figures}")
    if p >= SIGNIFICANT:
        return Verdict(False, f"{figures}: the difference may be chance")
    return Verdict(gained > lost, f"{figures}: {gained} images gained, {lost} lost")


def mcnemar(gained: int, lost: int) -> float:
    """Give the two-sided p of McNemar's test, exact: a binomial test on the images that changed.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions".
    """
    changed = gained + lost
    tail = ways = 1  # whole numbers: a float would underflow
    for k in range(min(gained, lost)):
        ways = ways * (changed - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << changed))


def _percent(right: Tensor) -> str:
    return f"{100 * right.double().mean().item():.2f} %"


def _in_words(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
