"""The result of a job in plain words, and what it offers next."""

import numpy as np
import pytest

from app.train.evaluation.outcome import result_of
from app.train.evaluation.promotion import Baseline, decide
from app.versions import checkpoint
from app.versions.registry import SHIPPED

DOCUMENTED = checkpoint.read_card(SHIPPED / "documented.safetensors")
ROBUST = checkpoint.read_card(SHIPPED / "robust.safetensors")
PROMOTE = {
    "action": "promote",
    "method": "PUT",
    "path": "/models/current",
    "body": {"version": 3},
}
ROLLBACK = {"action": "rollback", "method": "POST", "path": "/models/rollback", "body": None}


def result(rule, new, live, *, recipe="documented", live_card=DOCUMENTED):
    """Return the result of version 3 of 1,000 images, against version 2 if one is live."""
    correct = np.arange(1000) < new
    baseline = None if live is None else Baseline(2, np.arange(1000) < live)
    card = DOCUMENTED.model_copy(
        update={"version": 3, "test_accuracy": new / 1000, "recipe": recipe}
    )
    return result_of(card, decide(rule, correct, baseline), lambda _: live_card)


@pytest.mark.parametrize(
    ("rule", "new", "live", "explanation", "action"),
    [
        ("if_better", 980, 950, "went live: it reads 98.00 % of the test images, and version 2 "
         "reads 95.00 %. That is more than chance.", ROLLBACK),
        ("if_better", 950, 980, "did not go live: it reads 95.00 % of the test images, and the "
         "live version 2 reads 98.00 %.", PROMOTE),
        ("if_better", 980, 979, "98.00 % of the test images, and the live version 2 reads 97.90 %. "
         "So small a difference may be chance.", PROMOTE),
        ("always", 500, 970, "went live, as the job's rule is to make it live always.", ROLLBACK),
        ("never", 990, 970, "not go live, as the job's rule is never to make it live.", PROMOTE),
        ("if_better", 500, None, "went live: no version was live before.", None),
        ("never", 500, None, "not go live, as the job's rule is never to make it live.", PROMOTE),
    ],
)  # fmt: skip
def test_result_says_why_and_offers_the_next_step(rule, new, live, explanation, action):
    answer = result(rule, new, live)
    assert answer["explanation"].startswith("Version 3 ")
    assert answer["explanation"].endswith(explanation)
    assert answer["next"] == ([action] if action else [])


@pytest.mark.parametrize(
    ("rule", "new", "live", "cause"),
    [
        ("if_better", 980, 950, "better"),
        ("if_better", 950, 980, "worse"),
        ("if_better", 980, 979, "chance"),
        ("always", 500, 970, "always"),
        ("never", 990, 970, "never"),
        ("if_better", 500, None, "first"),
    ],
)
def test_result_has_its_cause_as_a_code(rule, new, live, cause):
    assert result(rule, new, live)["cause"] == cause


def test_result_names_the_live_version_that_it_was_compared_with():
    baseline = {"version": 2, "test_accuracy": 0.98, "recipe": "robust"}
    assert result("if_better", 950, 980, live_card=ROBUST)["baseline"] == baseline
    assert result("if_better", 950, None)["baseline"] is None
    assert result("never", 950, 980)["baseline"] is None


@pytest.mark.parametrize("new", [940, 978])
def test_tutorials_recipe_that_loses_to_robust_is_no_failure(new):
    answer = result("if_better", new, 980, live_card=ROBUST)
    assert "This is no failure: the tutorial's recipe is for learning" in answer["explanation"]
    assert "Make it live to try it" in answer["explanation"]
    assert answer["next"] == [PROMOTE]


def test_recipe_is_named_if_it_is_not_the_tutorials():
    answer = result("if_better", 940, 980, recipe="quick", live_card=ROBUST)
    assert "no failure: recipe quick is for learning" in answer["explanation"]


@pytest.mark.parametrize(
    ("new", "recipe", "live_card"),
    [(940, "robust", ROBUST), (940, "documented", DOCUMENTED), (999, "documented", ROBUST)],
)
def test_no_lesson_between_equals_or_after_a_success(new, recipe, live_card):
    answer = result("if_better", new, 980, recipe=recipe, live_card=live_card)
    assert "no failure" not in answer["explanation"]
