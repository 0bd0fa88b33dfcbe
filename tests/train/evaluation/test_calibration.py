import pytest
import torch

from app.train.evaluation.evaluate import calibration_error, fit_temperature


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_it_finds_by_how_much_logits_say_too_much(factor):
    torch.manual_seed(1)
    calibrated_logits = torch.randn(5_000, 10) * 2
    labels = torch.distributions.Categorical(logits=calibrated_logits).sample()
    temperature = fit_temperature(calibrated_logits * factor, labels)
    assert temperature == pytest.approx(factor, rel=0.05)
    error_before = calibration_error(calibrated_logits * factor, labels)
    error_after = calibration_error(calibrated_logits * factor / temperature, labels)
    assert error_after < 0.02
    assert factor == 1 or error_after < error_before / 3
