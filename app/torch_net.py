"""MyNet in PyTorch, for training, and for predictions on a GPU.

Only processes that compute with PyTorch import this module: it takes seconds and half a gigabyte.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.net import DIGITS, MEAN, PIXELS, STD, Weights, check_weights


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


def net_with(weights: Weights) -> MyNet:
    """Return MyNet with copies of these weights, on the CPU."""
    net = MyNet()
    net.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return net


def weights_of(net: MyNet) -> Weights:
    """Return copies of the weights of a network, on whatever device it is.

    Raises InvalidWeights if values are not finite.
    """
    return check_weights({name: tensor.cpu().numpy() for name, tensor in net.state_dict().items()})


def to_input(pixels: Tensor) -> Tensor:
    """Return (B, 28, 28) uint8 pixels as MyNet's input, (B, 784) float32.

    The operations and their order are those of torchvision's `ToTensor` and
    `Normalize((0.5,), (1.0,))`, so the values are equal bit for bit.
    """
    return normalize_(pixels.reshape(-1, PIXELS).to(torch.float32).div_(255))


def normalize_(shares: Tensor) -> Tensor:
    """Normalise float32 tones from 0 to 1 to the mean and deviation of MyNet's input, in place."""
    return shares.sub_(MEAN).div_(STD)
