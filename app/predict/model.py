"""Inference with one version: calibrated probabilities, and whether the image is a digit."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.predict.numpy_net import NumpyNet


class Answer(NamedTuple):
    """The prediction of one version for one image; the ten probabilities sum to 1."""

    digit: int
    probabilities: list[float]
    is_digit: bool
    version: int


class Network(Protocol):
    """MyNet with one version's weights, on the CPU or on another device.

    `device_error` says why the CPU answers in place of the device; it is empty if all is well.
    """

    @property
    def device(self) -> str: ...
    @property
    def device_error(self) -> str: ...
    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]: ...
    def saliency(self, pixels: NDArray[np.uint8], digit: int) -> NDArray[np.uint8]: ...
    def retry_device(self) -> None: ...


def load_network(weights: Mapping[str, Tensor], device: torch.device) -> Network:
    """Return the network with these weights: NumPy's on the CPU, torch's on any other device."""
    cpu_network = NumpyNet({name: tensor.numpy() for name, tensor in weights.items()})
    if device.type == "cpu":
        return cpu_network
    from app.predict.device_net import DeviceNet

    return DeviceNet(weights, cpu_network, device)


class Model:
    """A version that answers: its network, energy threshold and temperature."""

    def __init__(
        self, version: int, network: Network, energy_threshold: float, temperature: float = 1.0
    ) -> None:
        self.version, self.network = version, network
        self.energy_threshold, self.temperature = energy_threshold, temperature

    def answer(self, pixels: NDArray[np.uint8]) -> list[Answer]:
        """Return the answers for (B, 28, 28) uint8 pixels, in order.

        An image looks like a digit if the energy of its logits reaches the card's threshold. The
        probabilities are the softmax of the logits over the card's temperature.
        """
        z = self.network.logits(pixels).astype(np.float64)  # (B, 10)
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
