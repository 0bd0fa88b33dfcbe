import pytest

from app.train.promote import judge


@pytest.mark.parametrize(
    ("rule", "new", "current", "promoted", "said"),
    [
        ("if_better", 0.98, 0.97, True, "98.00 % against 97.00 % of version 1"),
        ("if_better", 0.97, 0.97, False, "97.00 % against 97.00 %"),
        ("if_better", 0.96, 0.97, False, "96.00 % against 97.00 %"),
        ("if_better", 0.5, None, True, "no version was live"),
        ("always", 0.5, 0.97, True, "always was asked for; 50.00 %"),
        ("never", 0.99, 0.97, False, "never was asked for"),
        ("never", 0.99, None, False, "never was asked for"),
    ],
)
def test_the_rule_decides_and_says_why(registry, rule, new, current, promoted, said):
    card = registry.card(1)
    live = card.model_copy(update={"test_accuracy": current}) if current is not None else None
    verdict = judge(rule, card.model_copy(update={"test_accuracy": new, "version": 2}), live)
    assert verdict.promoted == promoted
    assert said in verdict.reason
