"""Training loop of the recipes `documented` and `quick` with its backward pass written out.

`app.train.recipes.loop` is the specification. This loop calls the kernels that autograd and the
optimiser call there, in the same order, so the bits are the same. It is faster because it builds
no graph, writes into tensors that it keeps, and updates all parameters with one kernel.

`torch.compile` of the readable step (PyTorch 2.15, CPU) is no replacement: the losses differ from
the second batch on, and an epoch took 1.99 CPU seconds beside 2.07 of the readable loop and 1.66 of
this one (n = 1), after 80 seconds of compilation.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from app.net import LAYERS
from app.train.recipes.loop import Loader, Step
from app.train.recipes.updates import AdamUpdate, MomentumUpdate

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
    """Train as `loop.fit` does.

    `model` must be MyNet on the CPU, the optimiser SGD with momentum or fused Adam.
    """
    is_sgd = isinstance(optimizer, optim.SGD)
    update = (MomentumUpdate if is_sgd else AdamUpdate)(model, optimizer)
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
