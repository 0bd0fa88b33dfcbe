"""One version, ready to answer.

What enters: digits in MNIST's own form. What leaves: answers, each naming the version that gave it.
This module does not know how pixels were made, nor which version is live.

A device may be lost while it serves. Each model on one has a spare on the CPU, which answers then.
"""

import logging
from copy import deepcopy
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from app.net import PIXELS, SIDE, MyNet, to_input

# A torch operator costs microseconds before it computes anything, which a small batch must not
# wait for eleven times; a large one is computed faster by torch.
SMALL_BATCH: Final = 4
log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What one version says of one image; the ten probabilities sum to 1."""

    digit: int
    probabilities: list[float]
    is_digit: bool
    version: int


class Model:
    """MyNet with the weights, the threshold and the temperature of one version, on one device.

    `lost` says why the spare answers instead; it is empty where all is well.
    """

    def __init__(
        self,
        version: int,
        net: MyNet,
        energy_threshold: float,
        device: torch.device,
        temperature: float = 1.0,
    ) -> None:
        self.version, self.device, self.device_error = version, device, ""
        self.energy_threshold, self.temperature = energy_threshold, temperature
        self.net = net.eval().requires_grad_(False)
        self.cpu_fallback: Model | None = None
        layers = (self.net.fc1, self.net.fc2, self.net.fc3, self.net.fc4)
        # Laid out as they are read by rows of images: half the time of `Linear`.
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = [
            (layer.weight.t().contiguous(), layer.bias) for layer in layers
        ]
        self._arrays = [(weight.numpy(), bias.numpy()) for weight, bias in self._layers]
        if device.type != "cpu":
            cpu = torch.device("cpu")
            self.cpu_fallback = Model(version, deepcopy(net), energy_threshold, cpu, temperature)
            self._move(self.cpu_fallback)

    def retry_device(self) -> None:
        """Move to the device again where it was lost, if it can be."""
        if self.cpu_fallback and self.device_error:
            self._move(self.cpu_fallback)
            if not self.device_error:
                log.warning("%s answers again", self.device)

    def _move(self, cpu_fallback: "Model") -> None:
        try:
            net = deepcopy(cpu_fallback.net).to(self.device)
            layers = [(w.to(self.device), bias.to(self.device)) for w, bias in cpu_fallback._layers]
            self.net, self._layers = net, layers
            self._by_device(np.zeros((1, SIDE, SIDE), np.uint8))
            self.device_error = ""
        except RuntimeError as error:
            self._set_device_error(error)

    def answer(self, pixels: NDArray[np.uint8]) -> list[Answer]:
        """Answer for (B, 28, 28) uint8 pixels, in their order.

        An image looks like a digit where the energy of its logits reaches the card's threshold; the
        probabilities are those of the logits over its temperature.
        """
        z = self._logits(pixels).astype(np.float64)  # (B, 10)
        top = z.max(1, keepdims=True)
        z -= top
        shares = np.exp(z)
        energy = top[:, 0] + np.log(shares.sum(1))
        if self.temperature != 1:
            shares = np.exp(z / self.temperature)
        total = shares.sum(1, keepdims=True)
        digits: list[int] = z.argmax(1).tolist()
        probabilities: list[list[float]] = (shares / total).tolist()
        is_digit: list[bool] = (energy >= self.energy_threshold).tolist()
        rows = zip(digits, probabilities, is_digit, strict=True)
        return [Answer(*row, self.version) for row in rows]

    def _logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """MyNet's forward, (B, 10)."""
        if self.cpu_fallback:
            if not self.device_error:
                try:
                    return self._by_device(pixels)
                except RuntimeError as error:  # what CUDA and Metal raise, a full device for one
                    self._set_device_error(error)
            return self.cpu_fallback._logits(pixels)
        x = INPUT.take(pixels).reshape(-1, PIXELS)
        if len(pixels) <= SMALL_BATCH:
            return _by_numpy(self._arrays, x)
        return self._by_torch(torch.from_numpy(x))

    def _by_device(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._by_torch(to_input(torch.tensor(pixels).to(self.device)))

    def _set_device_error(self, error: RuntimeError) -> None:
        if not self.device_error:
            log.error("%s is lost, the CPU answers instead: %s", self.device, error)
        self.device_error = f"{self.device}: {str(error).partition(chr(10))[0]}"

    def _by_torch(self, x: torch.Tensor) -> NDArray[np.float32]:
        *hidden, (weight, bias) = self._layers
        with torch.inference_mode():
            for hidden_weight, hidden_bias in hidden:
                x = torch.addmm(hidden_bias, x, hidden_weight).relu_()
            return torch.addmm(bias, x, weight).cpu().numpy()

    def saliency(self, pixels: NDArray[np.uint8], digit: int) -> NDArray[np.uint8]:
        """Return how much each ink pixel of one (28, 28) uint8 image spoke for `digit`.

        Gradient × input, with a blank image as the reference (Shrikumar et al. 2016, "Not Just a
        Black Box"): (28, 28) uint8, 255 where it spoke the most, 0 where it did not or against it.
        """
        if self.cpu_fallback:  # one image is little work, and no device can be lost by it
            return self.cpu_fallback.saliency(pixels, digit)
        x = to_input(torch.tensor(pixels)[None]).requires_grad_()
        (gradient,) = torch.autograd.grad(self.net(x)[0, digit], x)  # (1, 784) float32
        ink = torch.tensor(pixels).reshape(-1) / 255
        attribution = (gradient[0] * ink).clamp(min=0)
        scaled = attribution / attribution.max().clamp(min=1e-12) * 255
        return np.asarray(scaled.round().to(torch.uint8).view(SIDE, SIDE))


def _inputs() -> NDArray[np.float32]:
    """Return what `to_input` makes of each of the 256 tones."""
    tones = torch.arange(PIXELS).to(torch.uint8).view(1, SIDE, SIDE)  # 0 to 255, over and over
    return to_input(tones)[0, :256].numpy().copy()


INPUT: Final = _inputs()


def _by_numpy(
    layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]], x: NDArray[np.float32]
) -> NDArray[np.float32]:
    *hidden, (weight, bias) = layers
    for hidden_weight, hidden_bias in hidden:
        x = x @ hidden_weight + hidden_bias
        np.maximum(x, 0, out=x)
    return x @ weight + bias
