"""Centring of the first layer: training as if black was 0 in the input, not -0.5.

Four fifths of an image are black. Inputs with a mean far from 0 make the gradients of all weights
of a unit point in the same direction, and training slow (LeCun et al. 1998, "Efficient BackProp").
Predictions must keep their input format, so the optimiser sees other parameters instead. The layer
computes `W x + b` for tones between -0.5 and 0.5, which is `W (x + 0.5) + b'` with
`b' = b - 0.5 W 1`. The optimiser updates `W` and `b'`, and `b` follows.
"""

from typing import Any

import torch
from torch.optim import Optimizer

from app.net import MEAN
from app.torch_net import MyNet


def attach(optimizer: Optimizer, net: MyNet) -> None:
    """Make each step of the optimiser update the first layer of `net` for centred inputs."""
    weight, bias = net.fc1.weight, net.fc1.bias
    sums = torch.empty_like(bias)

    @torch.no_grad()
    def before(*_: Any) -> None:
        assert weight.grad is not None and bias.grad is not None, "a backward pass has run"
        weight.grad.add_(bias.grad[:, None], alpha=MEAN)
        torch.sum(weight, 1, out=sums)

    @torch.no_grad()
    def after(*_: Any) -> None:
        bias.add_(weight.sum(1).sub_(sums), alpha=MEAN)

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
