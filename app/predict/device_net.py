"""MyNet in torch on a GPU, with the NumPy network beside it.

A device can fail while it serves. The NumPy network then answers, until the device works again.
"""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.net import SIDE, Weights
from app.predict.numpy_net import NumpyNet
from app.torch_net import MyNet, net_with, to_input

log = logging.getLogger(__name__)


class DeviceNet:
    """MyNet with one version's weights on one device.

    `device_error` says why the CPU answers instead; it is empty if the device works.
    """

    def __init__(self, weights: Weights, cpu_net: NumpyNet, device: str) -> None:
        torch.set_num_threads(1)  # as for NumPy: MyNet is too small to split, and cores are few
        self.weights, self.cpu_net, self.device = weights, cpu_net, device
        self.device_error = ""
        self._net: MyNet | None = None
        self._load()

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits, (B, 10), of (B, 28, 28) pixels."""
        if not self.device_error:
            try:
                return self._forward(pixels)
            except RuntimeError as error:  # CUDA and Metal raise it, also if the device is full
                self._set_error(error)
        return self.cpu_net.logits(pixels)

    def saliency(self, pixels: NDArray[np.uint8], digit: int) -> NDArray[np.uint8]:
        """Return the saliency on the CPU: one image is little work, and the CPU does not fail."""
        return self.cpu_net.saliency(pixels, digit)

    def activations(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the activations of the hidden layers on the CPU, as for saliency."""
        return self.cpu_net.activations(pixels)

    def retry_device(self) -> None:
        """Load the network again if the device failed; it may work again."""
        if self.device_error:
            self._load()
            if not self.device_error:
                log.warning("device recovered: device=%s", self.device)

    def _load(self) -> None:
        try:
            self._net = net_with(self.weights).eval().requires_grad_(False).to(self.device)
            self._forward(np.zeros((1, SIDE, SIDE), np.uint8))
            self.device_error = ""
        except RuntimeError as error:
            self._set_error(error)

    def _forward(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert self._net is not None, "a device whose network was not loaded has an error"
        with torch.inference_mode():
            logits: Tensor = self._net(to_input(torch.tensor(pixels).to(self.device)))
            return logits.cpu().numpy()

    def _set_error(self, error: RuntimeError) -> None:
        if not self.device_error:
            log.error(
                "device failed, the CPU answers instead: device=%s error=%s", self.device, error
            )
        self.device_error = f"{self.device}: {str(error).partition(chr(10))[0]}"
