"""A version before the gate: compared with what is live, and live instead where it should be.

What enters: a version, and the rule that was asked for. What leaves: the verdict, and the version
live where that says so. An earlier process may have done this and died: then it is not done twice.
This module does not know why a version is here.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from app.errors import Conflict, NotFound
from app.net import MyNet
from app.train import evaluate, promote
from app.train.data import Digits
from app.train.hyperparameters import PromoteRule
from app.train.promote import Rival, Verdict
from app.versions.card import Card
from app.versions.registry import Registry

log = logging.getLogger(__name__)
# Told what is live, and the verdict, before the version takes its place; may raise.
Begin = Callable[[int | None, Verdict], None]


def pass_gate(
    registry: Registry,
    version: int,
    right: Tensor,
    rule: PromoteRule,
    test: Digits,
    begin: Begin,
    *,
    begun: bool = False,
) -> Verdict:
    """Judge a version by the rule, and go live with it where it passes.

    `right` says which of the test images it reads right, (N,) bool. Where an earlier attempt had
    `begun`, and went live with the version, what came after it holds. A version that is live is
    compared with what was live before it.
    """
    while True:
        history = registry.history()
        live = next(iter(history), None)
        is_done = version == live or (begun and version in history)
        # Else it is not live, whatever it was once, and has what is live now to beat.
        rivals = history[history.index(version) + 1 :] if is_done else history
        verdict = promote.judge(rule, right, _rival(registry, rivals, test))
        if is_done or not verdict.promoted:
            return verdict
        begin(live, verdict)
        # Where another version went live meanwhile, it is that one that this one has to beat.
        if registry.promote(version, over=live):
            return verdict


def result_of(card: Card, verdict: Verdict) -> dict[str, Any]:
    """Give what a job, or a sweep, tells of its version in the end."""
    return {"version": card.version, "test_accuracy": card.test_accuracy, **verdict._asdict()}


def _rival(registry: Registry, history: Sequence[int], test: Digits) -> Rival | None:
    """Give the first of these versions that can be read."""
    for live in history:
        try:
            model = MyNet()
            model.load_state_dict(registry.weights(live))
        except (Conflict, NotFound) as error:
            log.error("%s", error)
            continue
        return Rival(live, evaluate.right(model, test, torch.device("cpu")))
    return None
