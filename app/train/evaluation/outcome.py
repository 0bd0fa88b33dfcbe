"""Result of a job in plain words: why its version is live or is not, and what can be done next."""

from collections.abc import Callable
from typing import Any, Final

from app.train.evaluation.promotion import Cause, Verdict
from app.versions.card import Card

REASONS: Final = {
    Cause.FIRST: "Version {version} went live: no version was live before.",
    Cause.ALWAYS: "Version {version} went live, as the job's rule is to make it live always.",
    Cause.NEVER: "Version {version} did not go live, as the job's rule is never to make it live.",
    Cause.BETTER: "Version {version} went live: it reads {accuracy} of the test images, and "
    "version {live} reads {live_accuracy}. That is more than chance.",
    Cause.WORSE: "Version {version} did not go live: it reads {accuracy} of the test images, and "
    "the live version {live} reads {live_accuracy}.",
    Cause.CHANCE: "Version {version} did not go live: it reads {accuracy} of the test images, and "
    "the live version {live} reads {live_accuracy}. So small a difference may be chance.",
}
# The shipped version was trained with `robust`, so the first training of a new user loses to it.
LESSON: Final = (
    " This is no failure: {recipe} is for learning, and version {live} was trained for real "
    "handwriting, with the recipe robust and many more images. Version {version} is stored and "
    "works. Make it live to try it, and roll back when you have seen enough."
)


def result_of(card: Card, verdict: Verdict, card_of: Callable[[int], Card]) -> dict[str, Any]:
    """Return the result of the job that created this version. `card_of` returns other cards."""
    has_next = verdict.live is not None or not verdict.promoted
    return {
        "version": card.version,
        "test_accuracy": card.test_accuracy,
        "promoted": verdict.promoted,
        "cause": verdict.cause,
        "baseline": _baseline(verdict, card_of),
        "reason": verdict.reason,
        "explanation": _explain(card, verdict, card_of),
        "next": [_next_action(card.version, verdict)] if has_next else [],
    }


def _baseline(verdict: Verdict, card_of: Callable[[int], Card]) -> dict[str, Any] | None:
    """Return the live version that the new one was compared with, or None."""
    if verdict.live is None or verdict.live_accuracy is None:
        return None
    recipe = card_of(verdict.live).recipe
    return {"version": verdict.live, "test_accuracy": verdict.live_accuracy, "recipe": recipe}


def _explain(card: Card, verdict: Verdict, card_of: Callable[[int], Card]) -> str:
    text = REASONS[verdict.cause]
    values = {"version": card.version, "accuracy": _percent(card.test_accuracy)}
    if verdict.live is not None and verdict.live_accuracy is not None:
        values |= {"live": verdict.live, "live_accuracy": _percent(verdict.live_accuracy)}
        was_beaten = verdict.cause in (Cause.WORSE, Cause.CHANCE)
        if was_beaten and card.recipe != "robust" and card_of(verdict.live).recipe == "robust":
            is_tutorials = card.recipe == "documented"
            values["recipe"] = "the tutorial's recipe" if is_tutorials else f"recipe {card.recipe}"
            text += LESSON
    return text.format_map(values)


def _next_action(version: int, verdict: Verdict) -> dict[str, Any]:
    """Return the request that changes which version is live."""
    if verdict.promoted:
        return {"action": "rollback", "method": "POST", "path": "/models/rollback", "body": None}
    body = {"version": version}
    return {"action": "promote", "method": "PUT", "path": "/models/current", "body": body}


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
