"""Exponential moving average (EMA) of the weights of a network.

Averaged weights generalise better than the last ones (Polyak, Juditsky 1992; Izmailov et al. 2018,
"Averaging Weights Leads to Wider Optima and Better Generalization").

`torch.optim.swa_utils.AveragedModel` copies the weights in its first update. This class moves nine
tenths of the way, so the other one would give the shipped recipe different weights.
"""

import copy
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from app.torch_net import MyNet

DECAY: Final = 0.999


class EMAModel(nn.Module):
    """Trains `net`, and updates `average` after each optimiser step."""

    steps: Tensor

    def __init__(self, net: MyNet, optimizer: Optimizer) -> None:
        super().__init__()
        self.net, self.average = net, copy.deepcopy(net).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        optimizer.register_step_post_hook(self._update)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of `net`."""
        return self.net(x)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _update(self, *_: Any) -> None:
        self.steps += 1
        # The first averages are short, so that the random initial weights are soon forgotten.
        weight = max(1 - DECAY, 9 / (int(self.steps) + 9))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), weight)
