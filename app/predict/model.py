"""One version, ready to answer.

What enters: digits in MNIST's own form. What leaves: answers, each naming the version that gave it.
This module does not know how pixels were made, nor which version is live.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.net import SIDE, MyNet, to_input


class Answer(NamedTuple):
    """What one version says of one image; the ten probabilities sum to 1."""

    digit: int
    probabilities: list[float]
    is_digit: bool
    version: int


class Model:
    """MyNet with the weights and the threshold of one version, on one device."""

    def __init__(
        self, version: int, net: MyNet, energy_threshold: float, device: torch.device
    ) -> None:
        self.version, self.device = version, device
        self.energy_threshold = energy_threshold
        self.net = net.to(device).eval().requires_grad_(False)

    def answer(self, pixels: Tensor) -> list[Answer]:
        """Answer for (B, 28, 28) uint8 pixels, in their order.

        An image looks like a digit where the energy of its logits reaches the card's threshold.
        """
        with torch.inference_mode():
            logits = self.net(to_input(pixels).to(self.device)).cpu()  # (B, 10) float32
        digits: list[int] = logits.argmax(1).tolist()
        probabilities: list[list[float]] = logits.double().softmax(1).tolist()
        is_digit: list[bool] = (logits.logsumexp(1) >= self.energy_threshold).tolist()
        rows = zip(digits, probabilities, is_digit, strict=True)
        return [Answer(*row, self.version) for row in rows]

    def saliency(self, pixels: NDArray[np.uint8], digit: int) -> NDArray[np.uint8]:
        """Say how much each ink pixel of one (28, 28) uint8 image spoke for `digit`.

        Gradient × input, with a blank image as the reference (Shrikumar et al. 2016, "Not Just a
        Black Box"): (28, 28) uint8, 255 where it spoke the most, 0 where it did not or against it.
        """
        x = to_input(torch.from_numpy(pixels)[None]).to(self.device).requires_grad_()
        (gradient,) = torch.autograd.grad(self.net(x)[0, digit], x)  # (1, 784) float32
        ink = torch.from_numpy(pixels).reshape(-1) / 255
        spoke = (gradient.cpu()[0] * ink).clamp(min=0)
        scaled = spoke / spoke.max().clamp(min=1e-12) * 255
        return np.asarray(scaled.round().to(torch.uint8).view(SIDE, SIDE))
