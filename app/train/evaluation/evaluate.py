"""Evaluation for the model card: accuracy, confusion matrix, calibration, temperature."""

from math import isfinite
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from app.net import DIGITS, MyNet, to_input
from app.train.recipes.dataset import Dataset, Digits
from app.versions.card import Metrics

CHUNK: Final = 2000
CALIBRATION_IMAGES: Final = 10_000
# Of digits that were trained with, and that were not.
OOD_QUANTILE: Final = 0.005
OOD_QUANTILE_HELD_OUT: Final = 0.0075
BINS: Final = 15


class NotFinite(Exception):
    """A network whose answers are not finite numbers."""


class Score(NamedTuple):
    """Mean cross-entropy, and the share of images that are read right."""

    loss: float
    accuracy: float


def logits_of(model: MyNet, pixels: Tensor, device: torch.device) -> Tensor:
    """Run (N, 28, 28) uint8 pixels through the network: (N, 10) float32, on the CPU."""
    with torch.inference_mode():
        chunks = [model(to_input(chunk).to(device)).cpu() for chunk in torch.split(pixels, CHUNK)]
    return torch.cat(chunks)


def score(model: MyNet, digits: Digits, device: torch.device) -> Score:
    """Evaluate briefly, as after each epoch."""
    return _score(logits_of(model, digits.pixels, device), digits.labels)


def evaluate(
    model: MyNet, data: Dataset, device: torch.device, held_out: Digits | None = None
) -> Metrics:
    """Evaluate for the card, on the test images. Raises NotFinite.

    The threshold under which an image does not look like a digit is a quantile of the logits'
    energy (Liu et al. 2020, "Energy-based Out-of-distribution Detection"): over images that were
    held out of the training, to which the temperature is fitted, too; where there are none, over
    training images, and the temperature is 1.
    """
    logits = logits_of(model, data.test.pixels, device)
    calibration_logits = logits_of(
        model, (held_out or data.train).pixels[:CALIBRATION_IMAGES], device
    )
    quantile = OOD_QUANTILE_HELD_OUT if held_out else OOD_QUANTILE
    threshold = calibration_logits.logsumexp(1).quantile(quantile).item()
    temperature = fit_temperature(calibration_logits, held_out.labels) if held_out else 1.0
    logits = logits / temperature
    loss, accuracy = _score(logits, data.test.labels)
    cells = data.test.labels * DIGITS + logits.argmax(1)
    confusion = torch.bincount(cells, minlength=DIGITS**2).view(DIGITS, DIGITS)
    if not isfinite(loss + threshold):
        raise NotFinite("holds weights so large that MyNet's answers are not finite numbers")
    return Metrics(
        test_accuracy=accuracy,
        test_loss=loss,
        calibration_error=calibration_error(logits, data.test.labels),
        confusion=confusion.tolist(),
        energy_threshold=threshold,
        temperature=temperature,
    )


def correct_mask(model: MyNet, digits: Digits, device: torch.device) -> Tensor:
    """Return which images are read right: (N,) bool."""
    return logits_of(model, digits.pixels, device).argmax(1) == digits.labels


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, bin by bin.

    Naeini et al. 2015, with the 15 bins of equal width of Guo et al. 2017, "On Calibration of
    Modern Neural Networks".
    """
    confidence, predictions = logits.double().softmax(1).max(1)
    excess = confidence - (predictions == labels).double()
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    by_bin = torch.zeros(BINS, dtype=torch.float64).index_add(0, bins, excess)
    return by_bin.abs().sum().item() / len(labels)


def _score(logits: Tensor, labels: Tensor) -> Score:
    correct = int((logits.argmax(1) == labels).sum())
    return Score(F.cross_entropy(logits, labels).item(), correct / len(labels))


CANDIDATES: Final = torch.logspace(-1, 1, 801, dtype=torch.float64)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return what to divide (N, 10) logits by, so that their likelihood is the greatest.

    Guo et al. 2017, "On Calibration of Modern Neural Networks". Half a percent between candidates
    is less than 5,000 images can tell apart.
    """
    logits = logits.double()
    losses = [
        F.cross_entropy(logits / float(temperature), labels).item() for temperature in CANDIDATES
    ]
    return float(CANDIDATES[losses.index(min(losses))])
