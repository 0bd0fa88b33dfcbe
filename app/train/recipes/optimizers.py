"""SGD and Adam that do not import `torch.compile`.

PyTorch's optimisers import it when they are created, although nothing is compiled. That takes as
long as PyTorch itself, and 80 MB. These compute the same: the compiler's wrappers are left out.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import optim
from torch.optim import Optimizer


def _unwrapped(method: Callable[..., Any]) -> Any:
    return inspect.unwrap(method)


class _Eager(Optimizer):
    add_param_group = _unwrapped(Optimizer.add_param_group)
    zero_grad = _unwrapped(Optimizer.zero_grad)
    state_dict = _unwrapped(Optimizer.state_dict)
    load_state_dict = _unwrapped(Optimizer.load_state_dict)


class SGD(_Eager, optim.SGD):
    """`optim.SGD`."""

    step = torch.no_grad()(_unwrapped(optim.SGD.step))


class Adam(_Eager, optim.Adam):
    """`optim.Adam`."""

    step = torch.no_grad()(_unwrapped(optim.Adam.step))
