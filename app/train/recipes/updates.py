"""Steps of SGD and Adam for `app.train.recipes.manual_loop`, with the bits of PyTorch's optimisers.

An optimiser sorts and checks its parameters at each step. For MyNet, that takes longer than Adam's
kernel. Here, it is done once.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# PyTorch aligns each tensor to 64 bytes. Sums at other addresses may be rounded differently.
ALIGNMENT: Final = 16
MOMENTUM_BUFFER: Final = "momentum_buffer"


class MomentumUpdate:
    """The step of `optim.SGD` with momentum, on one vector of all parameters.

    `weights` and `gradients` are views of the vectors, one for each parameter. The parameters of
    the model and the momentum buffers of the optimiser become such views, too: code that saves
    or evaluates them sees no difference.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        parameters = list(model.parameters())
        self.optimizer, self.parameters = optimizer, parameters
        self.weight_vector, self.weights = _vector_with_views(parameters)
        self.gradient_vector, self.gradients = _vector_with_views(parameters)
        self.momentum_vector, self.momentums = _vector_with_views(parameters)
        for parameter, weight in zip(parameters, self.weights, strict=True):
            weight.copy_(parameter.detach())
            parameter.data = weight
        self.has_momentum = all(
            optimizer.state[parameter].get(MOMENTUM_BUFFER) is not None for parameter in parameters
        )
        if self.has_momentum:
            for parameter, momentum in zip(parameters, self.momentums, strict=True):
                momentum.copy_(optimizer.state[parameter][MOMENTUM_BUFFER])
            self._share_momentum()

    def __call__(self) -> None:
        """Update the parameters by the present gradients."""
        (group,) = self.optimizer.param_groups
        if self.has_momentum:
            self.momentum_vector.mul_(group["momentum"]).add_(self.gradient_vector)
        else:
            self.momentum_vector.copy_(self.gradient_vector)
            self.has_momentum = True
            self._share_momentum()
        self.weight_vector.add_(self.momentum_vector, alpha=-group["lr"])

    def _share_momentum(self) -> None:
        for parameter, momentum in zip(self.parameters, self.momentums, strict=True):
            self.optimizer.state[parameter][MOMENTUM_BUFFER] = momentum


class AdamUpdate:
    """The step of `optim.Adam(fused=True)`, with its hooks, on gradients that are written in place.

    Not on one vector: the kernel rounds the last elements of a tensor differently.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        parameters = list(model.parameters())
        self.optimizer = optimizer
        self.weights = [parameter.detach() for parameter in parameters]
        self.gradients, self.means, self.squares = (
            [torch.zeros_like(weight) for weight in self.weights] for _ in range(3)
        )
        self.steps = [torch.zeros(()) for _ in parameters]
        names = "step", "exp_avg", "exp_avg_sq"
        states = zip(self.steps, self.means, self.squares, strict=True)
        for parameter, gradient, state in zip(parameters, self.gradients, states, strict=True):
            parameter.grad = gradient
            for name, tensor in zip(names, state, strict=True):
                if name in optimizer.state[parameter]:  # of a resumed training
                    tensor.copy_(optimizer.state[parameter][name])
                optimizer.state[parameter][name] = tensor

    def __call__(self) -> None:
        """Update the parameters by the present gradients."""
        optimizer = self.optimizer
        for before_step in optimizer._optimizer_step_pre_hooks.values():
            before_step(optimizer, (), {})
        (group,) = optimizer.param_groups
        torch._foreach_add_(self.steps, 1)
        torch._fused_adam_(
            self.weights,
            self.gradients,
            self.means,
            self.squares,
            [],  # the largest squares, which only AMSGrad has
            self.steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
        for after_step in optimizer._optimizer_step_post_hooks.values():
            after_step(optimizer, (), {})


def _vector_with_views(parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return a vector of zeros, and for each parameter an aligned view of it, of its shape."""
    sizes = [-(-parameter.numel() // ALIGNMENT) * ALIGNMENT for parameter in parameters]
    vector = torch.zeros(sum(sizes))
    views = [
        part[: parameter.numel()].view(parameter.shape)
        for part, parameter in zip(torch.split(vector, sizes), parameters, strict=True)
    ]
    return vector, views
