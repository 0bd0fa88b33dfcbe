"""MyNet in NumPy: logits, saliency and activations on the CPU, without torch.

At every batch size this is at least as fast as torch's `addmm` with one thread: CPU µs per image at
1 / 8 / 32 / 256 images, NumPy 31 / 14 / 9.9 / 8.6, torch 57 / 16 / 10.8 / 9.2 (best of 15 rounds,
interleaved, 2 cores, busy machine; before the first layer skipped blank pixels).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.net import LAYERS, MEAN, PIXELS, SIDE, STD, Weights

Array = NDArray[np.float32]
FULL_SCALE: Final = np.float32(255)


class NumpyNet:
    """MyNet with one version's weights. The arrays stay as they are, so threads may share it."""

    device: Final = "cpu"
    device_error: Final = ""

    def __init__(self, weights: Weights) -> None:
        # (in, out), since images are rows: transposed once, not for each batch.
        self.layers = [
            (np.ascontiguousarray(weights[f"{name}.weight"].T), weights[f"{name}.bias"])
            for name in LAYERS
        ]
        # The first layer on pixels from 0 to 255, so that no pass over them makes MyNet's input.
        weight, bias = self.layers[0]
        offset = weight.sum(0, np.float64) * (MEAN / STD)
        with np.errstate(over="ignore"):  # infinite: the version fails its test prediction
            self.pixel_layer = weight / FULL_SCALE / STD, (bias - offset).astype(np.float32)

    def logits(self, pixels: NDArray[np.uint8]) -> Array:
        """Return the logits, (B, 10), of (B, 28, 28) pixels."""
        *_, last_hidden = self._hidden(pixels)
        weight, bias = self.layers[-1]
        logits: Array = last_hidden @ weight + bias
        return logits

    def saliency(self, pixels: NDArray[np.uint8], digit: int) -> NDArray[np.uint8]:
        """Return how much each ink pixel of a (28, 28) image contributed to `digit`.

        Gradient × input with a blank image as the reference (Shrikumar et al. 2016, "Not Just a
        Black Box"): (28, 28) uint8, 255 for the largest contribution, 0 for none or a negative one.
        """
        ink = pixels / FULL_SCALE
        attribution = np.maximum(self._gradient(pixels, digit).reshape(SIDE, SIDE) * ink, 0)
        scaled = attribution / max(float(attribution.max()), 1e-12) * 255
        return np.rint(scaled).astype(np.uint8)

    def activations(self, pixels: NDArray[np.uint8]) -> list[Array]:
        """Return the activations of the hidden layers, each (units,), for a (28, 28) image."""
        return [activation[0] for activation in self._hidden(pixels[None])]

    def retry_device(self) -> None:
        """Do nothing: the CPU does not fail."""

    def _gradient(self, pixels: NDArray[np.uint8], digit: int) -> Array:
        """Return the gradient of a digit's logit with respect to the input, (784,).

        The chain rule: back through each layer, and through the ReLUs that were open.
        """
        gradient: Array = self.layers[-1][0][:, digit]
        hidden = self._hidden(pixels[None])
        for (weight, _), activation in zip(self.layers[-2::-1], reversed(hidden), strict=True):
            gradient = weight @ (gradient * (activation[0] > 0))
        return gradient

    def _hidden(self, pixels: NDArray[np.uint8]) -> list[Array]:
        """Return the activations of the three hidden layers, each (B, units)."""
        x = self._first_sums(pixels)
        np.maximum(x, 0, out=x)
        activations = [x]
        for weight, bias in self.layers[1:-1]:
            x = x @ weight
            x += bias
            np.maximum(x, 0, out=x)
            activations.append(x)
        return activations

    def _first_sums(self, pixels: NDArray[np.uint8]) -> Array:
        """Return the first layer's sums, (B, 300), without the weights of blank pixels.

        These add nothing. One digit has ink in a fifth of its pixels, 64 digits in three fifths.
        """
        rows = pixels.reshape(-1, PIXELS)
        (inked,) = np.bitwise_or.reduce(rows).nonzero()
        weight, bias = self.pixel_layer
        sums: Array = rows.take(inked, 1).astype(np.float32) @ weight.take(inked, 0)
        sums += bias
        return sums
