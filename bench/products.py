"""What the core can do, and what an epoch asks of it: matrix products of float32.

What enters: the batch and the number of images. What leaves: counts of operations, and the CPU
seconds of products. This module does not know of loops, networks or data.
"""

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor

WIDTHS: Final = (784, 300, 256, 128, 10)
LAYERS: Final = tuple(pairwise(WIDTHS))
SIDE: Final = 1024
TIMES: Final = 20


def operations(images: int) -> int:
    """Count those of one epoch: a product forward, and two backward, for each layer.

    The first layer has one backward: nobody asks for the gradient of the images.
    """
    products = sum(3 * 2 * wide * narrow for wide, narrow in LAYERS)
    unasked = 2 * LAYERS[0][0] * LAYERS[0][1]
    return images * (products - unasked)


def peak() -> float:
    """Give the operations in a CPU second of a matrix product large enough to be at its best."""
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    result = torch.mm(left, right)
    started = time.process_time()
    for _ in range(TIMES):
        torch.mm(left, right, out=result)
    return TIMES * 2 * SIDE**3 / (time.process_time() - started)


def products_alone(images: int, batch: int) -> float:
    """Give the CPU seconds of an epoch's products and of nothing else."""
    step = list(_products(batch))
    started = time.process_time()
    for _ in range(images // batch):
        for left, right, result in step:
            torch.mm(left, right, out=result)
    return time.process_time() - started


def _products(batch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Give the factors of a step's products, laid out as autograd has them, and their results."""
    for wide, narrow in LAYERS:
        weight, inputs = torch.randn(narrow, wide), torch.randn(batch, wide)
        gradient = torch.randn(batch, narrow)
        yield inputs, weight.T, torch.empty(batch, narrow)
        yield gradient.T, inputs, torch.empty(narrow, wide)
        if wide != WIDTHS[0]:
            yield gradient, weight, torch.empty(batch, wide)
