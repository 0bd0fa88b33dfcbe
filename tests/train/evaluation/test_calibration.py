import pytest
import torch

from app.train.evaluation.evaluate import calibration_error, fit_temperature


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_it_finds_by_how_much_logits_say_too_much(factor):
    torch.manual_seed(1)
    honest = torch.randn(5_000, 10) * 2
    labels = torch.distributions.Categorical(logits=honest).sample()
    temperature = fit_temperature(honest * factor, labels)
    assert temperature == pytest.approx(factor, rel=0.05)
    before = calibration_error(honest * factor, labels)
    after = calibration_error(honest * factor / temperature, labels)
    assert after < 0.02
    assert factor == 1 or after < before / 3
