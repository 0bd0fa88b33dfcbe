"""Batches of digits changed at random, with pictures of no digit among them.

What enters: digits, and pictures of none. What leaves: batches in a new order at each iteration,
drawn from torch's random state. This module does not know what is learnt from them.
"""

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from app.net import DIGITS, PIXELS, standardise
from app.train.augment import Augment
from app.train.data import Digits

# Pictures of no digit for each digit.
SHARE: Final = 0.2


class AugmentedBatches:
    """(B, 784) float32 inputs with (B, 10) float32 targets: the share that each digit has."""

    def __init__(
        self, digits: Digits, negatives: Tensor, batch_size: int, device: torch.device
    ) -> None:
        self.pixels, self.negatives = digits.pixels, negatives
        self.targets = F.one_hot(digits.labels, DIGITS).float()
        self.batch_size, self.device = batch_size, device
        self.augment = Augment()

    def __len__(self) -> int:
        return -(-len(self.pixels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.pixels))
        for index in torch.split(order, self.batch_size):
            beside = torch.randint(len(self.negatives), (round(SHARE * len(index)),))
            pictures = torch.cat([self.pixels[index], self.negatives[beside]])
            even = torch.full((len(beside), DIGITS), 1 / DIGITS)
            inputs = standardise(self.augment(pictures.float() / 255).view(-1, PIXELS))
            targets = torch.cat([self.targets[index], even])
            yield inputs.to(self.device), targets.to(self.device)
