"""Evaluation of a network in PyTorch: its logits on a device, and their metrics."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.torch_net import MyNet, to_input
from app.train.evaluation import metrics
from app.train.evaluation.metrics import CALIBRATION_IMAGES, Logits, Score
from app.train.recipes.dataset import Dataset, Digits
from app.versions.card import Metrics

CHUNK: Final = 2000


def logits_of(model: MyNet, pixels: Tensor, device: torch.device) -> Logits:
    """Return the logits of (N, 28, 28) uint8 pixels: (N, 10) float32."""
    with torch.inference_mode():
        chunks = [model(to_input(chunk).to(device)).cpu() for chunk in torch.split(pixels, CHUNK)]
    return torch.cat(chunks).numpy()


def score(model: MyNet, digits: Digits, device: torch.device) -> Score:
    """Return the loss and the accuracy, as recorded after each epoch."""
    return metrics.score(logits_of(model, digits.pixels, device), digits.labels.numpy())


def evaluate(
    model: MyNet, data: Dataset, device: torch.device, held_out: Digits | None = None
) -> Metrics:
    """Return the metrics of the card, on the test images. Raises NotFinite.

    The temperature and the energy threshold come from the held-out images, if there are any, and
    otherwise from training images: see `metrics_of`.
    """
    calibration = held_out or data.train
    return metrics.metrics_of(
        logits_of(model, data.test.pixels, device),
        data.test.labels.numpy(),
        logits_of(model, calibration.pixels[:CALIBRATION_IMAGES], device),
        held_out.labels[:CALIBRATION_IMAGES].numpy() if held_out else None,
    )


def correct_mask(model: MyNet, digits: Digits, device: torch.device) -> NDArray[np.bool_]:
    """Return for which images the prediction is correct: (N,) bool."""
    mask: NDArray[np.bool_] = (
        logits_of(model, digits.pixels, device).argmax(1) == digits.labels.numpy()
    )
    return mask
