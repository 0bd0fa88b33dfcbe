"""Inference with one version: logits, calibrated probabilities, saliency.

A device can fail while it serves. A model on a GPU therefore has a copy on the CPU, which answers
until the device works again.
"""

import logging
from copy import deepcopy
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from app.net import PIXELS, SIDE, MyNet, to_input

# Each torch operator costs microseconds of overhead, eleven times for every batch. numpy is faster
# for a small batch, torch for a large one.
SMALL_BATCH: Final = 4
log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """The prediction of one version for one image; the ten probabilities sum to 1."""

    digit: int
    probabilities: list[float]
    is_digit: bool
    version: int


class Model:
    """MyNet with the weights, energy threshold and temperature of one version, on one device.

    `device_error` says why the CPU copy answers instead; it is empty if the device works.
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
        # Transposed once for row vectors: half the time of `Linear`.
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = [
            (layer.weight.t().contiguous(), layer.bias) for layer in layers
        ]
        self._arrays = [(weight.numpy(), bias.numpy()) for weight, bias in self._layers]
        if device.type != "cpu":
            cpu = torch.device("cpu")
            self.cpu_fallback = Model(version, deepcopy(net), energy_threshold, cpu, temperature)
            self._move(self.cpu_fallback)

    def retry_device(self) -> None:
        """Move the model back to its device if that had failed and works again."""
        if self.cpu_fallback and self.device_error:
            self._move(self.cpu_fallback)
            if not self.device_error:
                log.warning("device recovered: device=%s", self.device)

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
        """Return the answers for (B, 28, 28) uint8 pixels, in order.

        An image looks like a digit if the energy of its logits reaches the card's threshold. The
        probabilities are the softmax of the logits over the card's temperature.
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
        """Return MyNet's logits, (B, 10)."""
        if self.cpu_fallback:
            if not self.device_error:
                try:
                    return self._by_device(pixels)
                except RuntimeError as error:  # CUDA and Metal raise it, also if the device is full
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
            log.error(
                "device failed, the CPU answers instead: device=%s error=%s", self.device, error
            )
        self.device_error = f"{self.device}: {str(error).partition(chr(10))[0]}"

    def _by_torch(self, x: torch.Tensor) -> NDArray[np.float32]:
        *hidden, (weight, bias) = self._layers
        with torch.inference_mode():
            for hidden_weight, hidden_bias in hidden:
                x = torch.addmm(hidden_bias, x, hidden_weight).relu_()
            return torch.addmm(bias, x, weight).cpu().numpy()

    def saliency(self, pixels: NDArray[np.uint8], digit: int) -> NDArray[np.uint8]:
        """Return how much each ink pixel of a (28, 28) uint8 image contributed to `digit`.

        Gradient × input with a blank image as the reference (Shrikumar et al. 2016, "Not Just a
        Black Box"): (28, 28) uint8, 255 for the largest contribution, 0 for none or a negative one.
        """
        if self.cpu_fallback:  # one image is little work, and on the CPU no device can fail
            return self.cpu_fallback.saliency(pixels, digit)
        x = to_input(torch.tensor(pixels)[None]).requires_grad_()
        (gradient,) = torch.autograd.grad(self.net(x)[0, digit], x)  # (1, 784) float32
        ink = torch.tensor(pixels).reshape(-1) / 255
        attribution = (gradient[0] * ink).clamp(min=0)
        scaled = attribution / attribution.max().clamp(min=1e-12) * 255
        return np.asarray(scaled.round().to(torch.uint8).view(SIDE, SIDE))


def _inputs() -> NDArray[np.float32]:
    """Return the network's input value for each of the 256 tones."""
    tones = torch.arange(PIXELS).to(torch.uint8).view(1, SIDE, SIDE)  # 0 to 255, repeated
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
