"""Whether a new version goes live, and why, in words.

What enters: the rule that was asked for, and two cards. What leaves: a verdict. This module does
not know how a version goes live.
"""

from typing import NamedTuple

from app.card import Card
from app.train.hyperparameters import PromoteRule


class Verdict(NamedTuple):
    promoted: bool
    reason: str


def judge(rule: PromoteRule, new: Card, current: Card | None) -> Verdict:
    """Compare test accuracies. `current` is None where nothing is live yet."""
    if rule == "never":
        return Verdict(False, "promote: never was asked for")
    if current is None:
        return Verdict(True, "no version was live")
    new_percent, current_percent = 100 * new.test_accuracy, 100 * current.test_accuracy
    figures = f"{new_percent:.2f} % against {current_percent:.2f} % of version {current.version}"
    if rule == "always":
        return Verdict(True, f"promote: always was asked for; {figures}")
    return Verdict(new.test_accuracy > current.test_accuracy, figures)
