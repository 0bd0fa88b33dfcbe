import math

import pytest
import torch

from app.torch_net import MyNet
from app.train.recipes import schedules

STEPS = 20


def rates_of(schedule, steps=STEPS):
    optimizer = torch.optim.SGD(MyNet().parameters(), lr=1.0)
    schedules.attach(optimizer, schedule)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
    return rates


def test_the_rate_rises_and_falls_along_a_cosine(monkeypatch):
    monkeypatch.setattr(schedules, "WARM_UP", 4)
    expected = [
        0.25 * min(1, (n + 1) / 4) * (1 + math.cos(math.pi * n / STEPS)) for n in range(STEPS)
    ]
    assert rates_of(schedules.cosine(0.5, STEPS)) == pytest.approx(expected)


def test_one_cycle_rises_from_a_tenth_to_the_highest_rate_and_falls_to_zero():
    rates = rates_of(schedules.one_cycle(0.8, STEPS), STEPS + 2)
    highest = rates.index(max(rates))
    assert (rates[0], rates[highest]) == pytest.approx((0.08, 0.8))
    assert highest == STEPS * schedules.RISE
    assert rates[: highest + 1] == sorted(rates[: highest + 1])
    assert rates[highest:] == sorted(rates[highest:], reverse=True)
    assert rates[-2:] == [0, 0], "it stays at 0 after the last step"


def test_a_resumed_schedule_goes_on_with_the_same_rates():
    parameters = list(MyNet().parameters())
    first, second = (torch.optim.SGD(parameters, lr=1.0) for _ in range(2))
    for optimizer in (first, second):
        schedules.attach(optimizer, schedules.one_cycle(0.8, STEPS))
    for _ in range(7):
        first.step()
    second.load_state_dict(first.state_dict())
    for optimizer in (first, second):
        optimizer.step()
    assert first.param_groups[0]["lr"] == second.param_groups[0]["lr"] != 0.08
