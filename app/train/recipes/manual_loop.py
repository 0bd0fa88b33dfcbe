"""Training loop of the recipes `documented` and `quick` with its backward pass written out.

`app.train.recipes.loop` is the specification. This loop calls the kernels that autograd and
`optim.SGD` call there, in the same order, so the bits are the same. It is faster because it builds
no graph, writes into tensors that it keeps, and updates all parameters as one vector.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from app.net import LAYERS
from app.train.recipes.loop import Loader, Step

# PyTorch aligns each tensor to 64 bytes. Sums at other addresses may be rounded differently.
ALIGNMENT: Final = 16
MOMENTUM_BUFFER: Final = "momentum_buffer"
aten = torch.ops.aten


def supports(device: torch.device, momentum: float) -> bool:
    """Return whether `fit` computes the same as `loop.fit` on this device, for `optim.SGD`."""
    return device.type == "cpu" and momentum > 0


def fit(
    model: nn.Module,
    optimizer: Optimizer,
    train_loader: Loader,
    *,
    epochs: range,
    device: torch.device,  # noqa: ARG001, it is the CPU
    done: int = 0,
) -> Iterator[Step]:
    """Train as `loop.fit` does. `model` must be MyNet on the CPU; SGD must have momentum."""
    is_sgd = isinstance(optimizer, optim.SGD)
    update = (MomentumUpdate if is_sgd else OptimizerUpdate)(model, optimizer)
    passes: dict[int, Passes] = {}
    for epoch in epochs:
        first = done if epoch == epochs.start else 0
        for batch_idx, (x, target) in enumerate(islice(train_loader, first, None), first):
            rows = len(x)
            if rows not in passes:
                passes[rows] = Passes(rows, update.weights, update.gradients)
            loss = passes[rows](x, target)
            update()
            yield Step(epoch, batch_idx + 1, len(train_loader), loss)


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


class OptimizerUpdate:
    """The step of any optimiser, with its hooks, on gradients that are written in place."""

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        parameters = list(model.parameters())
        self.optimizer = optimizer
        self.weights = [parameter.detach() for parameter in parameters]
        self.gradients = [torch.zeros_like(weight) for weight in self.weights]
        for parameter, gradient in zip(parameters, self.gradients, strict=True):
            parameter.grad = gradient

    def __call__(self) -> None:
        """Update the parameters by the present gradients."""
        self.optimizer.step()


def _vector_with_views(parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return a vector of zeros, and for each parameter an aligned view of it, of its shape."""
    sizes = [-(-parameter.numel() // ALIGNMENT) * ALIGNMENT for parameter in parameters]
    vector = torch.zeros(sum(sizes))
    views = [
        part[: parameter.numel()].view(parameter.shape)
        for part, parameter in zip(torch.split(vector, sizes), parameters, strict=True)
    ]
    return vector, views


class Passes:
    """The forward and the backward pass for batches of `rows` images, in tensors that it keeps."""

    def __init__(self, rows: int, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        self.weights, self.biases = weights[::2], weights[1::2]
        self.weight_gradients, self.bias_gradients = gradients[::2], gradients[1::2]
        widths = [outputs for outputs, _ in LAYERS.values()]
        self.outputs = [torch.empty(rows, width) for width in widths]  # after ReLU; logits last
        self.output_gradients = [torch.empty(rows, width) for width in widths]
        self.log_probabilities, self.loss_gradient = (
            torch.empty(rows, widths[-1]) for _ in range(2)
        )
        self.one = torch.ones(())

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        """Compute the gradients for a batch, and return its loss, a scalar."""
        self._forward(x)
        loss = self._loss(target)
        self._backward(x)
        return loss

    def _forward(self, x: Tensor) -> None:
        inputs = x
        for weight, bias, output in zip(self.weights, self.biases, self.outputs, strict=True):
            torch.addmm(bias, inputs, weight.t(), out=output)
            if output is not self.outputs[-1]:
                output.relu_()
            inputs = output

    def _loss(self, target: Tensor) -> Tensor:
        """Return the cross-entropy, and store its gradient for the logits."""
        log_probabilities, gradient = self.log_probabilities, self.loss_gradient
        torch._log_softmax(self.outputs[-1], 1, False, out=log_probabilities)
        loss: Tensor
        loss, total = aten.nll_loss_forward(log_probabilities, target, None, 1, -100)
        aten.nll_loss_backward(
            self.one, log_probabilities, target, None, 1, -100, total, grad_input=gradient
        )
        torch._log_softmax_backward_data(
            gradient, log_probabilities, 1, torch.float32, out=self.output_gradients[-1]
        )
        return loss

    def _backward(self, x: Tensor) -> None:
        for layer in reversed(range(len(self.weights))):
            inputs = self.outputs[layer - 1] if layer else x
            gradient = self.output_gradients[layer]
            torch.sum(gradient, 0, out=self.bias_gradients[layer])
            torch.mm(gradient.t(), inputs, out=self.weight_gradients[layer])
            if layer:
                below = self.output_gradients[layer - 1]
                torch.mm(gradient, self.weights[layer], out=below)
                aten.threshold_backward(below, inputs, 0, grad_input=below)
