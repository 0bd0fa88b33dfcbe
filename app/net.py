"""MyNet, and the input format that training and prediction share.

The input is 28×28 pixels in MNIST's form, ink light on dark. The output is ten logits.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE: Final = 28
PIXELS: Final = SIDE * SIDE
DIGITS: Final = 10
MEAN: Final = 0.5
STD: Final = 1.0


class InvalidWeights(Exception):
    """The weights are not MyNet's; the message says in what they differ."""


class DeviceUnavailable(Exception):
    """The requested device does not exist."""


class MyNet(nn.Module):
    """The tutorial's network: 784-300-256-128-10, 346,742 parameters, ReLU in between."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(PIXELS, 300)
        self.fc2 = nn.Linear(300, 256)
        self.fc3 = nn.Linear(256, 128)
        self.fc4 = nn.Linear(128, DIGITS)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised pixels, (B, 784) or (B, 28, 28) float32, to logits, (B, 10) float32."""
        x = x.view(-1, PIXELS)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = F.relu(self.fc3(x))
        return self.fc4(x)  # type: ignore[no-any-return]


def to_input(pixels: Tensor) -> Tensor:
    """Return (B, 28, 28) uint8 pixels as MyNet's input, (B, 784) float32.

    The operations and their order are those of torchvision's `ToTensor` and
    `Normalize((0.5,), (1.0,))`, so the values are equal bit for bit.
    """
    return normalize_(pixels.reshape(-1, PIXELS).to(torch.float32).div_(255))


def normalize_(shares: Tensor) -> Tensor:
    """Normalise float32 tones from 0 to 1 to the mean and deviation of MyNet's input, in place."""
    return shares.sub_(MEAN).div_(STD)


def check_weights(weights: object) -> dict[str, Tensor]:
    """Return `weights` as MyNet's state dict, float32.

    Raises InvalidWeights if names or shapes are not MyNet's, or values are not finite.
    """
    if not isinstance(weights, Mapping):
        raise InvalidWeights(f"it contains a {type(weights).__name__} instead of a state dict")
    if not all(isinstance(name, str) for name in weights):
        raise InvalidWeights("it contains names that are not text")
    with torch.device("meta"):  # shapes only, without values or random draws
        expected = MyNet().state_dict()
    if set(weights) != set(expected):
        names = str(sorted(map(str, weights)))
        raise InvalidWeights(f"its names are {names:.500}; MyNet's are {sorted(expected)}")
    for name, tensor in weights.items():
        shape, expected_shape = tuple(getattr(tensor, "shape", ())), tuple(expected[name].shape)
        if not isinstance(tensor, Tensor) or shape != expected_shape:
            raise InvalidWeights(f"{name} has shape {shape}; MyNet's has {expected_shape}")
        if not _is_finite(tensor):
            raise InvalidWeights(f"{name} has values that are not finite floating-point numbers")
    return {name: weights[name].to(torch.float32) for name in expected}


def _is_finite(tensor: Tensor) -> bool:
    """Return whether all values are finite numbers, also after the conversion to float32."""
    has_values = tensor.layout == torch.strided and not tensor.is_meta
    if not has_values or not tensor.is_floating_point():
        return False
    return bool(torch.isfinite(tensor.to(torch.float32)).all())


def pick_device(name: str) -> torch.device:
    """Return the device of a setting: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises DeviceUnavailable if the accelerator does not exist.
    """
    if name == "auto":
        name = next((kind for kind in ("cuda", "mps") if _available(kind)), "cpu")
    device = torch.device(name)
    if not _available(device.type) or (device.index or 0) >= _count(device.type):
        raise DeviceUnavailable(f"The device {name!r} does not exist. Use auto or cpu.")
    return device


def _count(kind: str) -> int:
    return torch.cuda.device_count() if kind == "cuda" else 1


def _available(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    return kind == "cpu" or (kind == "mps" and torch.backends.mps.is_available())
