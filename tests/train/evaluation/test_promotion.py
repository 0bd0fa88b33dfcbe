"""The gate: which version goes live, by McNemar's test, and what it says."""

import numpy as np
import pytest

from app.train.evaluation.promotion import Baseline, decide, mcnemar

IMAGES = 1000


def reads(count):
    return np.arange(IMAGES) < count


@pytest.mark.parametrize(
    ("rule", "new", "live", "promoted", "reason"),
    [
        ("if_better", 980, 950, True, "98.00 % against 95.00 % of version 7, McNemar p < 0.001: "),
        ("if_better", 980, 950, True, ": 30 images gained, 0 lost"),
        ("if_better", 950, 980, False, ": 0 images gained, 30 lost"),
        ("if_better", 980, 979, False, "McNemar p = 1.000: the difference may be chance"),
        ("if_better", 980, 974, True, "McNemar p = 0.031: 6 images gained"),
        ("if_better", 980, 975, False, "McNemar p = 0.062: the difference may be chance"),
        ("if_better", 970, 970, False, "may be chance"),
        ("if_better", 500, None, True, "there was no live version"),
        (
            "always",
            500,
            970,
            True,
            "rule is always; 50.00 % against 97.00 % of version 7, Mc",
        ),
        ("never", 990, 970, False, "the promotion rule is never"),
        ("never", 990, None, False, "the promotion rule is never"),
    ],
)
def test_the_rule_decides_and_says_why(rule, new, live, promoted, reason):
    baseline = None if live is None else Baseline(7, reads(live))
    verdict = decide(rule, reads(new), baseline)
    assert verdict.promoted == promoted
    assert reason in verdict.reason


def test_images_that_both_read_or_miss_do_not_count():
    correct = np.array([True] * 900 + [True] * 40 + [False] * 10 + [False] * 50)
    live = np.array([True] * 900 + [False] * 40 + [True] * 10 + [False] * 50)
    assert "40 images gained, 10 lost" in decide("if_better", correct, Baseline(1, live)).reason


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (6, 0, 2 / 64),
        (0, 6, 2 / 64),
        (5, 5, 1.0),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (143, 98, 0.004493510635567084),
        (9000, 100, 0.0),
    ],
)
def test_p_is_exact(gained, lost, p):
    assert mcnemar(gained, lost) == pytest.approx(p, rel=1e-12)
