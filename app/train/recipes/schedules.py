"""Learning rate schedules, as hooks of the optimiser.

The optimiser's state contains the number of steps, so a resumed training goes on with the same
rates.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from torch.optim import Optimizer

# Recipe `robust`: steps of the warm-up.
WARM_UP: Final = 600
# Recipe `quick`: share of the steps in which the rate rises, and the first rate as a share of the
# highest.
RISE: Final = 0.25
FIRST_RATE: Final = 0.1


def attach(optimizer: Optimizer, rate_after: Callable[[int], float]) -> None:
    """Set the learning rate after each step; `rate_after` returns it for the steps so far."""
    (group,) = optimizer.param_groups
    group["done"] = 0

    def set_rate(*_: Any) -> None:
        (group,) = optimizer.param_groups
        group["lr"] = rate_after(group["done"])
        group["done"] += 1

    set_rate()
    optimizer.register_step_post_hook(set_rate)


def cosine(max_learning_rate: float, steps: int) -> Callable[[int], float]:
    """Return a schedule that warms up, and falls along a cosine.

    Loshchilov, Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts".
    """

    def rate_after(done: int) -> float:
        falling = (1 + math.cos(math.pi * min(1.0, done / steps))) / 2
        return max_learning_rate * min(1.0, (done + 1) / WARM_UP) * falling

    return rate_after


def one_cycle(max_learning_rate: float, steps: int) -> Callable[[int], float]:
    """Return a schedule that rises in a straight line, and falls to 0 in another.

    Smith, Topin 2018, "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates".
    """
    return partial(_one_cycle_rate, max_learning_rate, steps)


def _one_cycle_rate(max_learning_rate: float, steps: int, done: int) -> float:
    share = min(1.0, done / steps)
    if share < RISE:
        return max_learning_rate * (FIRST_RATE + (1 - FIRST_RATE) * share / RISE)
    return max_learning_rate * (1 - share) / (1 - RISE)
