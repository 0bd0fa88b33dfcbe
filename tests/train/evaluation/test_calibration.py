import numpy as np
import pytest

from app.train.evaluation.metrics import calibration_error, fit_temperature


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_it_finds_by_how_much_logits_say_too_much(factor):
    random = np.random.default_rng(1)
    calibrated_logits = random.normal(0, 2, (5_000, 10)).astype(np.float32)
    # The Gumbel trick: the largest of the logits with noise is drawn from their softmax.
    labels = (calibrated_logits + random.gumbel(size=(5_000, 10))).argmax(1)
    temperature = fit_temperature(calibrated_logits * factor, labels)
    assert temperature == pytest.approx(factor, rel=0.05)
    error_before = calibration_error(calibrated_logits * factor, labels)
    error_after = calibration_error(calibrated_logits * factor / temperature, labels)
    assert error_after < 0.02
    assert factor == 1 or error_after < error_before / 3
