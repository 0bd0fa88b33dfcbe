"""Inference with one version: calibrated probabilities, and whether the image is a digit."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.devices import CPU
from app.net import Weights
from app.predict.answers import BatchAnswers
from app.predict.numpy_net import NumpyNet


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
    def activations(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]: ...
    def retry_device(self) -> None: ...


def load_network(weights: Weights, device: str) -> Network:
    """Return the network with these weights: NumPy's on the CPU, torch's on any other device."""
    cpu_network = NumpyNet(weights)
    if device == CPU:
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

    def answer(self, pixels: NDArray[np.uint8]) -> BatchAnswers:
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
        shares /= shares.sum(1, keepdims=True)
        return BatchAnswers(z.argmax(1), shares, energy >= self.energy_threshold, self.version)
