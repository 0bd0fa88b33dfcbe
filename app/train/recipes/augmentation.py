"""Affine and elastic augmentation of digits, and batches of augmented digits.

The method is that of Simard, Steinkraus, Platt: Best practices for convolutional neural networks
applied to visual document analysis, ICDAR 2003. One displacement field combines both changes, so
each image is sampled once. The elastic part is smooth and needs few random numbers: it is drawn on
a coarse grid, and two small matrix products interpolate it.
"""

import math
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from app.net import DIGITS, PIXELS, SIDE
from app.torch_net import normalize_
from app.train.recipes.drawn_images import DrawnImages

HALF: Final = SIDE / 2
# Limits of uniform distributions: degrees, shares, shares and pixels.
MAX_ROTATION: Final = 11.0
SHEAR: Final = 0.2
STRETCH: Final = 0.12
SHIFT: Final = 1.0
# Elastic displacement: the largest standard deviation, and the smoothing, both in pixels.
ELASTIC: Final = 1.85
SMOOTH: Final = 4.0
KNOTS: Final = 12
# Shares of images with another stroke width, and with each camera defect.
STROKE_WIDTH_PROBABILITY: Final = 0.2
CAMERA_DEFECT_PROBABILITY: Final = 0.06


class Augment:
    """Augments batches on the CPU: only its random state is saved with a training."""

    def __init__(self) -> None:
        places = torch.arange(SIDE, dtype=torch.float32)
        knots = torch.linspace(-SMOOTH, SIDE - 1 + SMOOTH, KNOTS)
        spread = torch.exp(-((places[:, None] - knots) ** 2) / (2 * SMOOTH**2))
        self.spread = spread / spread.square().sum(1, keepdim=True).sqrt()  # (28, 12), variance 1

    def __call__(self, images: Tensor) -> Tensor:
        """Return augmented images, (B, 28, 28) float32."""
        field = self._affine(images) + self._elastic(images)
        # Outside, the edge goes on, so that an image of one tone keeps that tone.
        changed = F.grid_sample(images[:, None], field, padding_mode="border", align_corners=False)[
            :, 0
        ]
        return _add_camera_defects(_vary_stroke_width(changed))

    def _affine(self, images: Tensor) -> Tensor:
        """Return the source position of each pixel: (B, 28, 28, 2), from -1 to 1."""
        count = len(images)
        angle, shear, wide, high = _uniform(4, count)
        angle, shear = angle * math.radians(MAX_ROTATION), shear * SHEAR
        wide, high = (wide * STRETCH).exp(), (high * STRETCH).exp()
        cos, sin = angle.cos(), angle.sin()
        rows = [cos * wide, (cos * shear - sin) * high, sin * wide, (sin * shear + cos) * high]
        matrix = torch.stack(rows, -1).view(count, 2, 2)
        shift = _uniform(count, 2, 1) * SHIFT / HALF
        changes = torch.cat([matrix, shift], 2)  # (B, 2, 3)
        return F.affine_grid(changes, [count, 1, SIDE, SIDE], align_corners=False)

    def _elastic(self, images: Tensor) -> Tensor:
        strength = torch.rand(len(images), 1, 1, 1) * ELASTIC / HALF
        drawn = torch.randn(len(images), 2, KNOTS, KNOTS) * strength
        return (self.spread @ drawn @ self.spread.T).permute(0, 2, 3, 1)


def _vary_stroke_width(images: Tensor) -> Tensor:
    """Make the strokes of some images thicker, and of some thinner."""
    thick, thin = (
        _bernoulli_mask(images, STROKE_WIDTH_PROBABILITY),
        _bernoulli_mask(images, STROKE_WIDTH_PROBABILITY),
    )
    images[thick] += _random_fraction(images[thick]) * (_dilate(images[thick]) - images[thick])
    images[thin] -= 0.7 * _random_fraction(images[thin]) * (images[thin] + _dilate(-images[thin]))
    return images


def _add_camera_defects(images: Tensor) -> Tensor:
    """Make some images coarse, some noisy, some with a hole, some with other tones."""
    coarse, noisy, torn, toned = (
        _bernoulli_mask(images, CAMERA_DEFECT_PROBABILITY) for _ in range(4)
    )
    side = int(torch.randint(8, 15, ()))
    small = F.interpolate(images[coarse, None], (side, side), mode="area")
    large = F.interpolate(small, (SIDE, SIDE), mode="bicubic")
    images[coarse] = _contrast(large[:, 0] / large.amax((1, 2, 3))[:, None, None].clamp(min=0.1))
    noise = torch.randn_like(images[noisy]) * 0.2 * _random_fraction(images[noisy])
    images[noisy] = (images[noisy] + noise).clamp(0, 1)
    images[torn] = images[torn].masked_fill(_holes(images[torn]), 0)
    images[toned] = images[toned].clamp(min=1e-6) ** torch.exp(
        0.7 * _uniform(int(toned.sum()), 1, 1)
    )
    return images


def _contrast(images: Tensor) -> Tensor:
    """Sharpen blurred edges by a random amount, as after enlargement by normalisation."""
    return ((images - 0.5) * (1 + 2.5 * _random_fraction(images)) + 0.5).clamp(0, 1)


def _holes(images: Tensor) -> Tensor:
    """Return a mask of one small rectangle for each image, (B, 28, 28) bool."""
    count, places = len(images), torch.arange(SIDE)
    reach = torch.randint(1, 4, (count, 1))
    across, down = ((places - torch.randint(6, 22, (count, 1))).abs() <= reach for _ in range(2))
    return across[:, None] & down[:, :, None]


def _bernoulli_mask(images: Tensor, share: float) -> Tensor:
    return torch.rand(len(images)) < share


def _random_fraction(images: Tensor) -> Tensor:
    return torch.rand(len(images), 1, 1)


def _uniform(*shape: int) -> Tensor:
    """Return uniform random numbers from -1 to 1."""
    return torch.rand(shape) * 2 - 1


def _dilate(images: Tensor) -> Tensor:
    """Return the maximum of each pixel and its eight neighbours."""
    for _ in range(
        2
    ):  # along rows, then along columns; PyTorch's max pooling takes five times as long
        wide = F.pad(images, (1, 1), value=-1.0)
        images = torch.maximum(torch.maximum(wide[..., :-2], wide[..., 2:]), images).mT
    return images


# Images without a digit, for each digit of a batch.
NEGATIVE_SHARE: Final = 0.3


class AugmentedBatches:
    """Augmented batches: (B, 784) float32 inputs with (B, 10) float32 target probabilities."""

    def __init__(self, images: DrawnImages, batch_size: int, device: torch.device) -> None:
        self.images, self.batch_size, self.device = images, batch_size, device
        self.augment = Augment()
        self.epochs = 0

    def __len__(self) -> int:
        return -(-self.images.digits // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.epochs:  # the first epoch draws all digits, and most of the other images
            self.images.draw_remaining()
        self.epochs += 1
        digits = self.images.digits
        for index in torch.split(torch.randperm(digits), self.batch_size):
            count = round(NEGATIVE_SHARE * len(index))
            negative_index = digits + torch.randint(len(self.images) - digits, (count,))
            batch = self.images.take(torch.cat([index, negative_index]))
            inputs = normalize_(self.augment(batch.pixels.float() / 255).view(-1, PIXELS))
            digit_targets = F.one_hot(batch.labels[: len(index)], DIGITS).float()
            targets = torch.cat([digit_targets, torch.full((count, DIGITS), 1 / DIGITS)])
            yield inputs.to(self.device), targets.to(self.device)
        self.images.store()
